"""A hub of our own that refuses, with the headers by which huggingface_hub tells why."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWERS = {
    "gated": (403, "GatedRepo", "Access to model meta-llama/Llama-3.1-8B is restricted and you are not in the"
              " authorized list. Visit https://huggingface.co/meta-llama/Llama-3.1-8B to ask for access."),
    "gated_no_token": (401, "GatedRepo", "Access to model meta-llama/Llama-3.1-8B is restricted. You must have access"
                       " to it and be authenticated to access it. Please log in."),
    "missing": (404, "RepoNotFound", "Repository not found"),
    "missing_no_token": (401, "RepoNotFound", "Invalid username or password."),
    "bad_token": (401, "", "Invalid credentials in Authorization header"),
    "broken": (503, "", "Service Unavailable"),
}  # fmt: skip
"""Status, X-Error-Code and X-Error-Message, by name."""


@contextlib.contextmanager
def answering(how: str) -> Iterator[str]:
    """The address of a hub that gives this answer to everything; empty for none; ``dead`` for one that is not there."""
    if how in ("", "dead"):
        yield "http://127.0.0.1:9" if how else ""
        return
    status, code, message = ANSWERS[how]

    class Answer(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = message.encode()
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", message)
            self.send_header("X-Request-Id", "Root=1-6740c8b1-1f2e3d4c5b6a798800112233")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = answer  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing: the log is the program's."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
