"""A real pseudo-terminal with a program of ours in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time


class Terminal:
    """A program in a terminal of its own; the test is the person (or the network) at the other end."""

    def __init__(self, command: list[str], environment: dict[str, str], columns: int = 120, rows: int = 36) -> None:
        self.output = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as in a terminal, whatever the tests run under
                for name in ("COLUMNS", "LINES"):  # would outrank the terminal's own size
                    environment.pop(name, None)
                os.execvpe(command[0], command, {"TERM": "xterm-256color", **environment})
            finally:
                os._exit(127)
        self.resize(columns, rows)

    def read_for(self, seconds: float) -> bytes:
        """Read what comes in this time, as a living terminal does."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([self.master], [], [], left)
            if not ready:
                break
            try:
                data = os.read(self.master, 65536)
            except OSError:  # the program closed its side
                break
            if not data:
                break
            self.output += data
        return self.output

    def read_until(self, text: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while text.encode() not in self.output:
            assert time.monotonic() < deadline, f"{text!r} never came; last output: {self.output[-2000:]!r}"
            self.read_for(0.2)

    def resize(self, columns: int, rows: int) -> None:
        """Another size; the program is told by SIGWINCH."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def alive(self) -> bool:
        return os.waitpid(self.pid, os.WNOHANG) == (0, 0)

    def hang_up(self) -> None:
        """The line is cut: the kernel sends SIGHUP to the program."""
        os.close(self.master)
        self.master = -1

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = 20) -> int:
        """The exit status once the program has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return status
            if self.master >= 0:
                self.read_for(0.1)
            else:
                time.sleep(0.1)
        raise AssertionError("the program did not end")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
        if self.master >= 0:
            os.close(self.master)
