"""Reads the parts of a signature. Whoever pushed it chose every byte, so each function refuses what is not exact."""

from __future__ import annotations

import base64
import binascii
import re

from registry_image.decode import JSONReader
from registry_image.errors import quote

#: A number as protobuf's JSON writes one of 64 bits.
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*")


class Rejected(Exception):
    """One signature does not count; the text says why. The next signature may be good."""


def base64_of(text: str, what: str) -> bytes:
    """The bytes of strict base64. Raises Rejected, naming ``what``."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Rejected(f"{what}: not base64: {quote(text, limit=40)}") from None


def read_base64(reader: JSONReader, key: str) -> bytes:
    return base64_of(reader.text(key), f"{reader.where}: {key}")


def read_count(reader: JSONReader, key: str) -> int:
    """A number that is not negative, as protobuf's JSON has it: as text, and left out where it is 0."""
    if not reader.has(key):
        return 0
    if not reader.is_text(key):
        number = reader.integer(key)
        if number < 0:
            raise Rejected(f"{reader.where}: {key}: negative")
        return number
    text = reader.text(key)
    if not _NUMBER.fullmatch(text):
        raise Rejected(f"{reader.where}: {key}: not a number: {quote(text, limit=40)}")
    return int(text)


def der_of(pem: bytes) -> bytes:
    """What the PEM text of one certificate holds, not parsed any further. Raises Rejected."""
    found = _CERTIFICATE.fullmatch(pem)
    if found is None:
        raise Rejected("its certificate is not one in PEM")
    return base64_of(b"".join(found[1].split()).decode(), "certificate")
