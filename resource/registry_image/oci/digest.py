"""Content digests (image spec, descriptor.md, "Digests") and the check that bytes are what a digest promises."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from registry_image.errors import DigestMismatch, InvalidManifest, SizeMismatch, quote
from registry_image.record import record

Buffer: TypeAlias = bytes | bytearray | memoryview

_HEX_LENGTH = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)


@record()
class Digest:
    """An algorithm and lower-case hex, checked when made: ``Digest.parse("sha256:…")``."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Raises InvalidManifest unless ``text`` is a digest of a registered algorithm."""
        algorithm, _, encoded = text.partition(":")
        if len(encoded) != _HEX_LENGTH.get(algorithm, -1) or not _HEX.fullmatch(encoded):
            raise InvalidManifest(f"not a digest: {quote(text)}: expected sha256: and 64 lower-case hex digits")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: Buffer) -> Digest:
        """The sha256 digest of ``data``."""
        return cls("sha256", hashlib.sha256(data).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """Twelve digits, as tools display a digest."""
        return self.hex[:12]


class Verifier:
    """Checks that a stream, given in pieces, has exactly ``size`` bytes (if given) and hashes to ``digest``.

    ``what`` names the stream in the errors, such as "layer 2 of 4 (sha256:…)". The first byte past ``size`` is an
    error, so a caller that stops there has read no more than the descriptor allows (layers.md 3).
    """

    __slots__ = ("_digest", "_hash", "_size", "_what", "seen")

    def __init__(self, digest: Digest, size: int | None, what: str) -> None:
        self._digest = digest
        self._size = size
        self._what = what
        self._hash = hashlib.new(digest.algorithm)
        self.seen = 0

    def update(self, data: Buffer) -> None:
        """Raises SizeMismatch as soon as there are more than ``size`` bytes."""
        self.seen += len(data)
        if self._size is not None and self.seen > self._size:
            raise SizeMismatch(self._what, expected=self._size, actual="more")
        self._hash.update(data)

    def checked(self, pieces: Iterable[Buffer]) -> Iterator[Buffer]:
        """``pieces`` as they arrive. Raises before the end unless the stream matches."""
        for piece in pieces:
            self.update(piece)
            yield piece
        self.finish()

    def finish(self) -> None:
        """Call it at the end of the stream. Raises SizeMismatch or DigestMismatch."""
        if self._size is not None and self.seen != self._size:
            raise SizeMismatch(self._what, expected=self._size, actual=self.seen)
        if self._hash.hexdigest() != self._digest.hex:
            actual = f"{self._digest.algorithm}:{self._hash.hexdigest()}"
            raise DigestMismatch(self._what, expected=str(self._digest), actual=actual)


def verify(data: Buffer, digest: Digest, what: str) -> None:
    """Raises DigestMismatch, naming ``what``, unless ``data`` hashes to ``digest``."""
    verifier = Verifier(digest, None, what)
    verifier.update(data)
    verifier.finish()
