"""Secrets, names and rows leave with no report, and figures of training stay."""

from __future__ import annotations

import json
import time

import pytest

from qltui.runs.masking import MASK, ROW, Masker, is_secret_name

TOKEN = "hf_" + "aBcDeFgHiJ" * 3
HEX = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"using token {TOKEN} of the hub", TOKEN),
        (f"HF_TOKEN={TOKEN}", TOKEN),
        ("OPENAI: sk-proj-abc_DEF-1234567890", "abc_DEF-1234567890"),
        (f"wandb: api key {HEX} accepted", HEX),
        (f'"WANDB_API_KEY": "{HEX}"', HEX),
        ("wandb_v1_AbCdEfGh123456", "AbCdEfGh123456"),
        ("git clone https://ann:s3cr3t@git.example.org/x.git", "s3cr3t"),
        ("proxy http://onlytoken12345@proxy:8080/", "onlytoken12345"),
        ("Authorization: Bearer abcdef.ghijkl-123", "ghijkl"),
        ("{'Authorization': 'Basic dXNlcjpwYXNz'}", "dXNlcjpwYXNz"),
        (json.dumps(json.dumps({"authorization": "Bearer zyxwvutsrq"})), "zyxwvutsrq"),
        ("curl -H 'X-Api-Key: 12345abc'", "12345abc"),
        ("Cookie: session=abcd1234; other=efgh5678", "efgh5678"),
        ("password=hunter2", "hunter2"),
        ('"db_password": "hunter2"', "hunter2"),
        ("https://s3/x?X-Amz-Signature=0a1b2c3d4e5f6a7b8c9d&y=1", "0a1b2c3d4e5f6a7b8c9d"),
        ("AKIAABCDEFGHIJKLMNOP", "AKIAABCDEFGHIJKLMNOP"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ", "0123456789abcdefghij"),
        ("glpat-abcdefghij0123456789", "abcdefghij0123456789"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4", "SflKxwRJSMeKKF2QT4"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----", "IBAAKC"),
    ],
)
def test_secrets_are_masked(text: str, secret: str) -> None:
    masker = Masker()
    assert secret in text
    assert secret not in masker.text(text)
    assert masker.masked >= 1


@pytest.mark.parametrize(
    "text",
    [
        "step 12 loss 0.42 tokens_per_second=568.70200712 tokens: 16384",
        'tokenizer: null\nnew_tokens: []\npad_token: "<|endoftext|>"\nanswer_max_tokens: 16',
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        f"~/.cache/huggingface/hub/models--x/snapshots/{HEX}/config.json",
        f"revision: {HEX}",
        "KeyError: 'messages'",
        'File "train.py", line 3, in <module>',
        "https://huggingface.co/meta-llama/Llama-3.1-8B/resolve/main/config.json",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    masker = Masker()
    assert masker.text(text) == text
    assert masker.masked == 0


def test_values_of_secret_variables_are_masked_wherever_they_stand() -> None:
    masker = Masker(environment={"MY_SECRET": "plain-looking-words", "PATH": "/usr/bin", "X_TOKEN": "abc"})
    assert masker.text("it said plain-looking-words in /usr/bin abc") == f"it said {MASK} in /usr/bin abc"


def test_home_and_user_are_replaced() -> None:
    masker = Masker("/home/mona", "mona")
    assert masker.text("/home/mona/x /home/monalisa/y mona@host -home-mona- monaco") == (
        "~/x /home/user/y user@host -home-user- monaco"
    )
    assert Masker("/root", "root").text("root error in /root/x, /rootfs") == "root error in ~/x, /rootfs"


def test_texts_of_rows_are_masked_in_every_spelling() -> None:
    row = 'What is "naïve"?\nSay it in a line of its own.'
    masker = Masker(rows=[row, "yes"])
    for spelt in (row, json.dumps(row), json.dumps(row, ensure_ascii=False), "> Say it in a line of its own."):
        assert "its own" not in masker.text(spelt)
        assert ROW in masker.text(spelt)
    assert masker.text("yes") == "yes"


@pytest.mark.parametrize("piece", ["a", "a1", "eyJ", "://", "sk-", "_key", "key=", "-----BEGIN PRIVATE KEY-----"])
def test_long_lines_take_no_time(piece: str) -> None:
    begun = time.process_time()
    Masker("/home/mona", "mona").text(piece * 100_000)
    assert time.process_time() - begun < 5, "the time grows with the square of the length"


def test_names_of_secrets() -> None:
    assert all(map(is_secret_name, ["HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "GH_PAT"]))
    assert not any(map(is_secret_name, ["PATH", "TOKENIZERS_PARALLELISM", "MASTER_PORT", "KEYBOARD", "MONKEY"]))
