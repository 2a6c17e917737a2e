"""The secrets that this process holds, and the search for them in all text that is shown.

A server that got a secret may repeat it: raw, as base64, with ``%68`` or ``\\u0068`` for a character, or cut in two by
the end of a quotation. Where a text is written, it is searched as a whole, so no other code has to know what is secret.
"""

from __future__ import annotations

import re
import sys
from binascii import b2a_base64
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

#: What is shown in place of a secret.
REDACTED = "((redacted))"
#: The shortest secret that is hidden, and the shortest beginning of a cut one, in bytes. Shorter ones are found in
#: ordinary words, and what is replaced there would tell the secret.
MIN_LENGTH = 4
#: How often escapes are undone: a server may put JSON inside a URL inside JSON.
_DEPTH = 3
#: A run of backslashes is read from its beginning only, so that a long one takes no quadratic time.
_ESCAPE = (
    rb"%(?:25)*([0-9A-Fa-f]{2})"  # also encoded twice: %2568
    rb"|(?<!\\)\\+u([Dd][89ABab][0-9A-Fa-f]{2})\\+u([Dd][C-Fc-f][0-9A-Fa-f]{2})"
    rb"|(?<!\\)\\+u([0-9A-Fa-f]{4})"
    rb"|(?<!\\)\\+x([0-9A-Fa-f]{2})"
    rb"|(?<!\\)\\+([\"'/\\bfnrt])"
    rb"|&(?:#([0-9]{1,7})|#[Xx]([0-9A-Fa-f]{1,6})|([A-Za-z]{2,4}));"
)
_ENTITIES = {b"amp": b"&", b"lt": b"<", b"gt": b">", b"quot": b'"', b"apos": b"'"}
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
#: The mark of a cut text, and the part of an escape that may be left before it.
_CUT = rb"(?:%(?:25)*[0-9A-Fa-f]?|(?<!\\)\\+(?:u[0-9A-Fa-f]{0,3}|x[0-9A-Fa-f]?)?|&#?[0-9A-Za-z]{0,7})?\xe2\x80\xa6"


class Secrets:
    """Threads may share it. It grows only: a token that has expired may still be one that a server repeats."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def add(self, *texts: str) -> None:
        """Each line counts as a secret of its own, as logs show lines; a PEM's frame is none."""
        for text in texts:
            for line in text.splitlines():
                if len(line) >= MIN_LENGTH and not line.startswith("-----"):
                    self._known.add(line)

    def clear(self) -> None:
        self._known.clear()

    def hide(self, text: str) -> str:
        """``text`` with REDACTED in place of each secret, and of each beginning of one before a "…"."""
        # Another thread may add a secret; nothing can interrupt a copy.
        spellings = [each for secret in tuple(self._known) for each in _spellings(secret)]
        if not spellings:
            return text
        raw = text.encode("utf-8", "surrogatepass")
        spans = sorted(_find(raw, spellings))
        shown = bytearray()
        end = 0
        for first, last in spans:
            if first >= end:
                shown += raw[end:first] + REDACTED.encode()
            end = max(end, last)
        return (shown + raw[end:]).decode("utf-8", "surrogateescape") if spans else text


#: All secrets of this process: stderr is a property of the process, too.
SECRETS = Secrets()


@cache
def _spellings(secret: str) -> frozenset[bytes]:
    """What to search for, in lower case: ``secret`` as it is, without its escapes, and as base64 inside other text."""
    raw = secret.encode("utf-8", "surrogatepass")
    found = {level for level, _ in _levels(raw)}
    found.add(raw.replace(b" ", b"+"))  # as in a form
    for offset in range(3):
        # Three bytes make four characters, so a text in front shifts the secret in one of three ways. Characters that
        # it shares with its neighbours are left out.
        whole = b2a_base64(b"\0" * offset + raw, newline=False)
        inner = whole[(offset * 8 + 5) // 6 : (offset + len(raw)) * 8 // 6]
        found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return frozenset(each.lower() for each in found if len(each) >= MIN_LENGTH)


def _find(raw: bytes, spellings: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    """Where ``raw`` has one of ``spellings``, under any escapes: the first byte, and the one after the last."""
    for level, places in _levels(raw):
        text = level.lower()  # names of hosts come in lower case
        cuts = [match.start() for match in re.finditer(_CUT, text)]
        for spelling in spellings:
            at = text.find(spelling)
            while at >= 0:
                yield places[at][0], places[at + len(spelling) - 1][1]
                at = text.find(spelling, at + 1)
            for at, cut in _beginnings(text, spelling, cuts):
                yield places[at][0], places[cut - 1][1]


def _beginnings(text: bytes, spelling: bytes, cuts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """From where to where ``text`` has a beginning of ``spelling`` that ends at one of ``cuts``, which ascend."""
    beginning = spelling[:MIN_LENGTH]
    at = text.find(beginning) if cuts else -1
    while at >= 0:
        # The next cut suffices: its mark is in no secret.
        nearest = bisect_left(cuts, at + MIN_LENGTH)
        if nearest < len(cuts) and spelling.startswith(text[at : cuts[nearest]]):
            yield at, cuts[nearest]
        at = text.find(beginning, at + 1)


def _levels(raw: bytes) -> Iterator[tuple[bytes, Sequence[tuple[int, int]]]]:
    """``raw``, and ``raw`` without its escapes, until there are none; with the place of each byte in ``raw``."""
    text, places = raw, [(at, at + 1) for at in range(len(raw))]
    yield text, places
    for _ in range(_DEPTH):
        plain = bytearray()
        origins: list[tuple[int, int]] = []
        end = 0
        for match in re.finditer(_ESCAPE, text):
            plain += text[end : match.start()]
            origins += places[end : match.start()]
            meaning = _meaning(match)
            plain += meaning
            origins += [(places[match.start()][0], places[match.end() - 1][1])] * len(meaning)
            end = match.end()
        if not end:
            return
        text, places = bytes(plain + text[end:]), origins + places[end:]
        yield text, places


def _meaning(escape: re.Match[bytes]) -> bytes:
    percent, high, low, unit, byte, letter, decimal, hexadecimal, name = escape.groups()
    if letter is not None:
        return _LETTERS.get(letter, letter)
    if name is not None:
        return _ENTITIES.get(name, escape[0])
    if decimal or hexadecimal:
        number = int(decimal or hexadecimal, 10 if decimal else 16)
        return chr(number).encode("utf-8", "surrogatepass") if number <= sys.maxunicode else escape[0]
    if percent is not None:
        return bytes.fromhex(percent.decode())
    if byte is not None:
        return chr(int(byte, 16)).encode()
    code = bytes.fromhex((high + low if high else unit).decode())
    return code.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")
