"""What Concourse's web page makes of a log: elm-ansi 11.0.1, as far as it differs from a terminal.

A private mode ends at its `?`, and the rest of it becomes text. A line feed also goes to the first column. The page has
no edge at which lines wrap. A row that was reached once is there for good. Escapes that it does not know are left out.
"""

from __future__ import annotations

import codecs
import re

_PIECE = re.compile(r"\x1b(?:\[([0-9;]*)([^0-9;])|([^\[]))|([\r\n])|([^\x1b\r\n]+)")
_CUT_OFF = re.compile(r"\x1b(\[[0-9;]*)?\Z")


class Page:
    """The rows that are seen, without colours: ``rows``."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self._row = 0
        self._column = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._remainder = ""

    def feed(self, log: bytes) -> list[str]:
        """The log goes on with ``log``, which may end within a character or an escape."""
        text = self._remainder + self._decoder.decode(log)
        cut_off = _CUT_OFF.search(text)
        self._remainder = cut_off[0] if cut_off else ""
        for codes, command, after_escape, control, printed in _PIECE.findall(text.removesuffix(self._remainder)):
            if printed or after_escape:
                self._print(printed or after_escape)
            elif control == "\r":
                self._column = 0
            elif control == "\n":
                self._row, self._column = self._row + 1, 0
                self._print("")
            elif command:
                self._obey(command, codes)
        return self.rows

    def _obey(self, command: str, codes: str) -> None:
        last = codes.rpartition(";")[2]
        count = int(last) if last else 1
        match command:
            case "A":
                self._row -= count
            case "B":
                self._row += count
            case "C":
                self._column += count
            case "D":
                self._column -= count
            case "E":
                self._row, self._column = self._row + count, 0
            case "F":
                self._row, self._column = self._row - count, 0
            case "G":
                self._column = max(0, count - 1)
            case "K":
                self._erase(int(last) if last else 0)

    def _erase(self, mode: int) -> None:
        line = self._line()
        if mode == 0:
            self.rows[self._row] = line[: self._column]
        elif mode == 1:
            self.rows[self._row] = " " * self._column + line[self._column :]
        else:
            self.rows[self._row] = ""

    def _print(self, text: str) -> None:
        line = self._line()
        start = self._column
        self.rows[self._row] = line[:start].ljust(start) + text + line[start + len(text) :]
        self._column += len(text)

    def _line(self) -> str:
        assert self._row >= 0, "the cursor is above the log"
        while len(self.rows) <= self._row:
            self.rows.append("")
        return self.rows[self._row]


def rows(log: bytes) -> list[str]:
    return Page().feed(log)
