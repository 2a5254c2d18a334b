"""What must not leave a machine with a report: secrets, names of people, texts of rows. Pure."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MASK = "[masked]"
ROW = "[text of a row]"
LEAST_ROW, LEAST_WORD = 8, 24
"""Characters of a row's text below which it is told from no other text; and where it is a single word."""
LEAST_SECRET = 6
"""Characters of a variable's value below which it would be found everywhere."""

_NAMES = (
    r"(?:secrets?|passw(?:or)?d|passphrase|credentials?|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|(?:auth|access|refresh)[_-]?token)"
)
_SECRET_NAME = re.compile(rf"{_NAMES}|(?:^|_)(?:token|key|pat)$", re.IGNORECASE)
_QUOTES = r"\\?[\"']?"

_ALONE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:hf|api_org)_[A-Za-z0-9]{8,}"
    r"|\bsk-[A-Za-z0-9_-]{8,}"
    r"|\bwandb_v\d_[A-Za-z0-9_]{8,}"
    r"|\b(?:gh[oprsu]|github_pat|glpat|xox[abeprs])[_-][A-Za-z0-9_-]{8,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bAIza[\w-]{30,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?",
    re.DOTALL,
)
"""Secrets that are known by their look: keys and tokens of the hub, OpenAI, W&B, GitHub, GitLab, Slack, AWS, Google,
and signed ones (JWT)."""
_HEX = re.compile(r"(?<![0-9A-Za-z])(?<!snapshots/)(?<!revision: )(?<!commit )[0-9a-f]{40}(?![0-9A-Za-z])")
"""A key of W&B, which looks like a commit."""
_IN_URL = re.compile(r"(?<=://)[^\s/@\"'<>]+@")
_HEADER = re.compile(
    rf"(?P<name>\b(?:authorization|x-api-key|set-cookie|cookie)\b{_QUOTES}\s*[:=]\s*{_QUOTES})[^\r\n\"'\\,}}]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?P<name>\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE)
_NAMED = re.compile(
    rf"(?P<name>{_NAMES}\w*{_QUOTES}\s*[:=]\s*{_QUOTES})"
    r"(?!None\b|null\b|true\b|false\b|\[)[^\s\"',;&}\\]+",
    re.IGNORECASE,
)
_NAMED_TOKEN = re.compile(
    rf"(?P<name>(?<![A-Za-z])(?:token|sig|signature|key){_QUOTES}\s*[:=]\s*{_QUOTES})"
    r"[\w./+~=-]{12,}",
    re.IGNORECASE,
)
"""A token, unless it is one of a tokenizer, which is short or stands in brackets."""
_HOME = re.compile(r"(?P<base>/(?:home|Users)/)[^/\s\"'\\:,;)]+")
COMMON = frozenset({"root", "user", "users", "home", "ubuntu", "train", "model", "data", "rank", "step", "admin"})
"""Names of users that are words, and so say nothing of anybody."""


class Masker:
    """Takes secrets, the home folder, the user's name and texts of rows out of what it is given."""

    def __init__(
        self, home: str = "", user: str = "", environment: Mapping[str, str] | None = None, rows: Iterable[str] = ()
    ) -> None:
        """``rows`` are texts of rows that are known; ``environment`` is searched for variables that hold secrets."""
        self.masked = 0
        """How often something was taken out."""
        exact: dict[str, str] = {text: ROW for text in map(str.strip, rows) if _is_telling(text)}
        for name, value in (environment or {}).items():
            if is_secret_name(name) and len(value) >= LEAST_SECRET:
                exact[value] = MASK
        self._exact: list[tuple[str, str]] = sorted(_spelt(exact), key=lambda one: -len(one[0]))
        self._home = home.rstrip("/") if len(home) > 1 else ""
        self._user = (
            re.compile(rf"(?<![A-Za-z0-9]){re.escape(user)}(?![A-Za-z0-9])")
            if len(user) > 1 and user.lower() not in COMMON
            else None
        )

    def text(self, text: str) -> str:
        """The text without them."""
        for found, put in self._exact:
            if found in text:
                self.masked += text.count(found)
                text = text.replace(found, put)
        for pattern in (_ALONE, _HEX):
            text = self._put(pattern, MASK, text)
        text = self._put(_IN_URL, f"{MASK}@", text)
        for pattern in (_HEADER, _BEARER, _NAMED, _NAMED_TOKEN):
            text = self._put(pattern, rf"\g<name>{MASK}", text)
        if self._home:
            text = re.sub(rf"{re.escape(self._home)}(?![\w-])", "~", text)
        text = _HOME.sub(r"\g<base>user", text)
        return self._user.sub("user", text) if self._user else text

    def _put(self, pattern: re.Pattern[str], put: str, text: str) -> str:
        text, count = pattern.subn(put, text)
        self.masked += count
        return text


def is_secret_name(name: str) -> bool:
    """Whether a variable or field of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def _is_telling(text: str) -> bool:
    return len(text) >= (LEAST_ROW if len(text.split()) > 1 else LEAST_WORD)


def _spelt(exact: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Texts as they stand in plain files and in JSON, with and without escapes for what is not ASCII."""
    for text, put in exact.items():
        lines = [line.strip() for line in text.splitlines()] if put == ROW else []
        for piece in {text, *(line for line in lines if _is_telling(line))}:
            for spelling in {piece, json.dumps(piece)[1:-1], json.dumps(piece, ensure_ascii=False)[1:-1]}:
                yield spelling, put
