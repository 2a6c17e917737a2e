"""The interface of decompressors, and their error."""

from __future__ import annotations

from typing import Protocol

from registry_image.oci.digest import Buffer


class Decoder(Protocol):
    """Decodes one member or frame, with the methods of the standard library's decompressors."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: Buffer, max_length: int) -> bytes:
        """Raises DecoderError."""


class DecoderError(Exception):
    """What is wrong with a stream, as the end of a sentence; ``hint`` says what to do about it."""

    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem)
        self.hint = hint
