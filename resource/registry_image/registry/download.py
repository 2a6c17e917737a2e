"""A blob as one stream, over as many connections as it takes: each goes on at the byte where the last one broke."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator

from registry_image.errors import ResourceError, SizeMismatch, TransportError
from registry_image.net.attempts import Attempts
from registry_image.net.http import StreamingReply
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer

#: Bytes that count as progress and make the retry budget whole again: a server that cuts after every byte makes none.
PROGRESS = 64 * 1024

# Patterns are compiled when first used: most checks use none, and compiling shows in their start-up time.
_CONTENT_RANGE = r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)"
_OK = 200
_PARTIAL = 206
_RANGE_NOT_SATISFIABLE = 416

#: Opens the blob with these extra headers, accepting those statuses besides 200; does not retry.
Opener = Callable[[dict[str, str], tuple[int, ...]], StreamingReply]


class Download:
    """The pieces of one blob from ``offset`` on; ``offset`` tells how far they have come, also after a failure.

    Raises what the opener raises, TransportError, or SizeMismatch for an answer that announces another size.
    """

    def __init__(
        self, open_blob: Opener, descriptor: Descriptor, what: str, attempts: Attempts, *, offset: int = 0
    ) -> None:
        self._open_blob = open_blob
        self._descriptor = descriptor
        self._what = what
        self._attempts = attempts
        self._ranges = True
        self.offset = offset

    def pieces(self) -> Generator[Buffer]:
        mark = self.offset
        while True:
            try:
                yield from self._one_connection()
            except ResourceError as error:
                if self.offset >= self._descriptor.size > 0:
                    return  # broken after the last byte
                if self.offset - mark >= PROGRESS:
                    self._attempts.progressed()
                    mark = self.offset
                self._attempts.failed(error)
            else:
                return

    def _one_connection(self) -> Iterator[Buffer]:
        """What one connection gives from the offset on; returns at the end of the blob."""
        with self._open() as response:
            skip = 0 if response.status == _PARTIAL else self.offset
            for piece in response.stream():
                if skip >= len(piece):
                    skip -= len(piece)
                    continue
                fresh = memoryview(piece)[skip:] if skip else piece
                skip = 0
                self.offset += len(fresh)
                yield fresh
        # A body that HTTP has a length for is whole, and if it is short then that is what the registry keeps: the
        # reader's verifier says so. One that ends with its connection may have been cut anywhere.
        if self.offset < self._descriptor.size and not response.framed:
            raise TransportError(f"{self._what}: the connection ended after {self.offset} bytes")

    def _open(self) -> StreamingReply:
        if self.offset and self._ranges:
            response = self._open_blob({"Range": f"bytes={self.offset}-"}, (_RANGE_NOT_SATISFIABLE,))
            if self._is_the_rest(response):
                return response
            if response.status != _OK:
                # No ranges here, or wrong ones: read the blob from its beginning and skip what is known.
                response.close()
                self._ranges = False
                response = self._open_blob({}, ())
        else:
            response = self._open_blob({}, ())
        self._check_whole(response)
        return response

    def _is_the_rest(self, response: StreamingReply) -> bool:
        """Whether it is exactly what was asked for: only then may the bytes be joined (RFC 9110, 15.3.7)."""
        size = self._descriptor.size
        match = re.fullmatch(_CONTENT_RANGE, response.headers.get("content-range").strip())
        if response.status != _PARTIAL or match is None:
            return False
        first, last, total = match.groups()
        return int(first) == self.offset and int(last) == size - 1 and total in ("*", str(size))

    def _check_whole(self, response: StreamingReply) -> None:
        length = response.headers.count("content-length")
        if response.status != _OK:
            response.close()
            raise TransportError(f"{self._what}: status {response.status} to a request for the whole", retryable=False)
        if length is not None and length != self._descriptor.size:
            response.close()
            raise SizeMismatch(self._what, expected=self._descriptor.size, actual=length)
