"""A blob as one stream over several connections: each continues at the byte where the last one broke."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator

from registry_image.errors import ResourceError, SizeMismatch, TransportError
from registry_image.net.attempts import Attempts
from registry_image.net.encoding import decoded
from registry_image.net.http import StreamingReply
from registry_image.oci.config import MAX_CONFIG_SIZE
from registry_image.oci.descriptor import Descriptor
from registry_image.oci.digest import Buffer
from registry_image.oci.mediatype import CONFIGS

#: Bytes that restore the retry budget; with fewer, a server that cuts after every byte would be retried for ever.
PROGRESS = 64 * 1024

# Patterns are compiled when first used: most checks use none, and compiling shows in their start-up time.
_CONTENT_RANGE = r"(?i)bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)"
_OK = 200
_PARTIAL = 206
#: Answers by which a server, or a proxy before it, refuses a part of what it may give as a whole.
_NO_PART = (400, 403, 405, 416, 501)

#: Opens the blob with the given headers, accepting the given statuses besides 200; does not retry.
Opener = Callable[[dict[str, str], tuple[int, ...]], StreamingReply]


class Download:
    """One blob from ``offset`` on; the attribute ``offset`` is the next byte, also after a failure."""

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
        """Raises what the opener raises, TransportError, or SizeMismatch for an answer that announces another size."""
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
        with self._open() as reply:
            skip = 0 if reply.status == _PARTIAL else self.offset
            for piece in self._pieces(reply):
                if skip >= len(piece):
                    skip -= len(piece)
                    continue
                fresh = memoryview(piece)[skip:] if skip else piece
                skip = 0
                self.offset += len(fresh)
                yield fresh
        # A body with a length in HTTP is whole. If it is too short, the registry keeps a short blob, and the reader's
        # verifier says so. A body that ends with its connection may have been cut anywhere.
        if self.offset < self._descriptor.size and not reply.framed:
            raise TransportError(f"{self._what}: the connection ended after {self.offset} bytes")

    def _pieces(self, reply: StreamingReply) -> Iterator[bytes]:
        if not self._is_encoded(reply):
            return reply.stream()
        return iter((decoded(reply.read(MAX_CONFIG_SIZE), reply.headers, MAX_CONFIG_SIZE, self._what),))

    def _is_encoded(self, reply: StreamingReply) -> bool:
        """Whether a proxy compressed a config, which is JSON. (Layers stay as they come: layers.md 4.)"""
        return self._descriptor.media_type in CONFIGS and bool(reply.headers.get("content-encoding"))

    def _open(self) -> StreamingReply:
        if self.offset and self._ranges:
            reply = self._open_blob({"Range": f"bytes={self.offset}-"}, _NO_PART)
            if self._is_the_rest(reply):
                return reply
            if reply.status != _OK:
                # No ranges here, or wrong ones: read the blob from its beginning and skip the known bytes.
                reply.close()
                self._ranges = False
                reply = self._open_blob({}, ())
        else:
            reply = self._open_blob({}, ())
        self._check_whole(reply)
        return reply

    def _is_the_rest(self, reply: StreamingReply) -> bool:
        """Whether it is exactly the range that was asked for: else bytes must not be joined (RFC 9110, 15.3.7)."""
        size = self._descriptor.size
        match = re.fullmatch(_CONTENT_RANGE, reply.headers.get("content-range").strip())
        if reply.status != _PARTIAL or match is None:
            return False
        first, last, total = match.groups()
        return int(first) == self.offset and int(last) == size - 1 and total in ("*", str(size))

    def _check_whole(self, reply: StreamingReply) -> None:
        length = reply.headers.count("content-length")
        if reply.status != _OK:
            reply.close()
            raise TransportError(
                f"{self._what}: status {reply.status} to a request for the whole blob", retryable=False
            )
        if length is not None and not self._is_encoded(reply) and length != self._descriptor.size:
            reply.close()
            raise SizeMismatch(self._what, expected=self._descriptor.size, actual=length)
