"""The hub asked for a model: whatever answers in its place, a clause is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from qltui.configs import hub

ANSWERS = {
    "/api/models/org/there": b"HTTP/1.0 200 OK\r\n\r\n{}",
    "/api/models/org/gated": b'HTTP/1.0 200 OK\r\n\r\n{"gated": "manual"}',
    "/api/models/org/a%20b/revision/refs%2Fpr%2F1": b"HTTP/1.0 200 OK\r\n\r\n{}",
    "/api/models/org/broken": b"HTTP/1.0 503 Unavailable\r\n\r\n",
    "/api/models/org/garbage": b"no HTTP at all\r\n\r\n",
    "/api/models/org/page": b"HTTP/1.0 200 OK\r\n\r\n<html>sign in</html>",
}


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.wfile.write(ANSWERS.get(self.path, b"HTTP/1.0 404 Not Found\r\n\r\n"))

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            monkeypatch.delenv(variable, raising=False)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield
        server.shutdown()


@pytest.mark.parametrize(
    ("name", "revision", "is_there", "told"),
    [
        ("org/there", None, True, "the hub has it"),
        ("org/gated", None, True, "the hub has it, for those who accepted its licence there"),
        ("org/a b", "refs/pr/1", True, "the hub has it"),
        ("org/nowhere", None, False, "the hub shows no such model"),
        ("org/broken", None, None, "the hub answers with an error (503)"),
        ("org/garbage", None, None, "the hub cannot be reached (no HTTP at all)"),
        ("org/page", None, None, "the hub cannot be reached (Expecting value"),
    ],
)
def test_whatever_answers_is_told(name: str, revision: str | None, is_there: bool | None, told: str) -> None:
    answer = hub.ask(name, revision)
    assert answer.is_there is is_there
    assert answer.told.startswith(told)


def test_it_is_not_asked_where_that_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.ask("org/there").is_there is None


def test_an_address_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "nonsense")
    assert hub.ask("org/there").told.startswith("the hub cannot be reached (unknown url type")
