"""What stands on a terminal's screen after the bytes that Textual wrote to it."""

from __future__ import annotations

import codecs
import re

from rich.cells import cell_len

ESCAPE = re.compile(
    r"\x1b\[(?P<parameters>[0-?]*)[ -/]*(?P<final>[@-~])|\x1b[\]PX^_].*?(?:\x07|\x1b\\)|\x1b[()][0-9A-Za-z]|\x1b[ -~]",
    re.DOTALL,
)
UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07]*|[()])?\Z", re.DOTALL)


class Painted:
    """A grid of cells, each a character and its colours; knows of terminals what Textual uses of them."""

    def __init__(self, columns: int, rows: int) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._style: dict[str, str] = {}
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        """Another size, and an empty screen."""
        self.columns, self.rows = columns, rows
        self.row = self.column = 0
        self.cells = [[(" ", "")] * columns for _ in range(rows)]

    def feed(self, data: bytes) -> None:
        """Draw what was written."""
        text = self._rest + self._decoder.decode(data)
        cut = UNFINISHED.search(text)
        text, self._rest = (text[: cut.start()], text[cut.start() :]) if cut else (text, "")
        place = 0
        for match in ESCAPE.finditer(text):
            self._write(text[place : match.start()])
            self._obey(match["final"] or "", match["parameters"] or "")
            place = match.end()
        self._write(text[place:])

    def _obey(self, final: str, parameters: str) -> None:
        if final in "Hf" and final:
            row, _, column = parameters.partition(";")
            self.row, self.column = int(row or 1) - 1, int(column or 1) - 1
        elif final == "m" and not parameters.startswith((">", "?")):  # those are no styles
            self._restyle(parameters)
        elif final == "J":
            self.resize(self.columns, self.rows)

    def _restyle(self, parameters: str) -> None:
        """Change the style as the codes say; it stands in each cell as a text that is the same for the same style."""
        codes = iter(parameters.split(";"))
        for code in codes:
            if code in ("", "0"):
                self._style = {}
            elif code in ("38", "48"):
                kind = next(codes)
                colour = [next(codes) for _ in range({"5": 1, "2": 3}[kind])]
                self._style[code] = ";".join([code, kind, *colour])
            elif int(code) in (39, 49):
                self._style.pop({"39": "38", "49": "48"}[code], None)
            elif int(code) >= 30:
                self._style["38" if int(code) // 10 in (3, 9) else "48"] = code
            else:
                self._style[code] = code

    def _write(self, text: str) -> None:
        style = " ".join(sorted(self._style.values()))
        for character in text:
            if character == "\n":
                self.row, self.column = self.row + 1, 0
            elif character == "\r":
                self.column = 0
            elif character >= " ":
                for offset in range(cell_len(character)):
                    if 0 <= self.row < self.rows and 0 <= self.column < self.columns:
                        self.cells[self.row][self.column] = ("" if offset else character, style)
                    self.column += 1

    @property
    def text(self) -> str:
        """The characters, a line each."""
        return "\n".join("".join(character for character, _ in row) for row in self.cells)

    def styles(self, rows: slice, columns: slice) -> list[list[tuple[str, str]]]:
        """Cells of a part of the screen, with what they are drawn in."""
        return [row[columns] for row in self.cells[rows]]
