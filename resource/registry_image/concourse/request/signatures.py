"""Whose signatures are wanted, and how put signs, as the pipeline writes it.

The texts of keys are read by `concourse.signatures`, when a step begins: only what `verify` and `sign` need is imported
for them, and only there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from registry_image.concourse.request.validation import field_of
from registry_image.decode import JSONReader
from registry_image.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An issuer or a subject: ``text``, or where ``is_regex`` what RE2 finds in the whole. ``where`` is for errors."""

    where: str
    text: str
    is_regex: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyless:
    issuer: Wanted
    subject: Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class CosignVerify:
    """``where`` is where it stands, as in "source.verify.cosign". ``keys`` are PEM; ``trusted_root`` is JSON or ""."""

    where: str
    keys: tuple[str, ...]
    keyless: tuple[Keyless, ...]
    annotations: Mapping[str, str]
    trusted_root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CosignSign:
    """``where`` is where it stands; ``forms`` are "classic", "bundle" or both."""

    where: str
    key: str = field(repr=False)
    password: str | None = field(repr=False)
    annotations: Mapping[str, str]
    forms: tuple[str, ...]


_FORMS = {"classic": ("classic",), "bundle": ("bundle",), "both": ("classic", "bundle")}


def read_cosign_verify(verify: JSONReader) -> CosignVerify:
    """``verify`` conforms to the schema. Raises RequestError for what names nobody, or only half of somebody."""
    cosign = verify.child("cosign")
    where = field_of(cosign)
    keys = cosign.texts("keys")
    keyless = tuple(
        Keyless(issuer=_wanted(each, "issuer"), subject=_wanted(each, "subject")) for each in cosign.children("keyless")
    )
    if not keys and not keyless:
        raise RequestError(f"{where}: it names nobody whose signature counts", hint="set `keys`, `keyless` or both")
    root = ""
    if cosign.has("trusted_root"):
        if not keyless:
            raise RequestError(f"{where}: `trusted_root` is for `keyless`, which is not set")
        root = cosign.text("trusted_root") if cosign.is_text("trusted_root") else cosign.json("trusted_root")
    return CosignVerify(
        where=where, keys=keys, keyless=keyless, annotations=cosign.text_map("annotations"), trusted_root=root
    )


def read_cosign_sign(sign: JSONReader) -> CosignSign:
    """``sign`` conforms to the schema."""
    cosign = sign.child("cosign")
    return CosignSign(
        where=field_of(cosign),
        key=cosign.text("key"),
        password=cosign.text("password") if cosign.has("password") else None,
        annotations=cosign.text_map("annotations"),
        forms=_FORMS[cosign.text("format", "classic")],
    )


def _wanted(reader: JSONReader, name: str) -> Wanted:
    expression = f"{name}_regex"
    exact, by_regex = reader.has(name), reader.has(expression)
    if exact == by_regex:
        raise RequestError(
            f"{field_of(reader)}: expected `{name}` or `{expression}`: {'both are' if exact else 'neither is'} set",
            hint=None if exact else "an issuer says who vouches for a subject: one means nothing without the other",
        )
    chosen = expression if by_regex else name
    return Wanted(where=f"{field_of(reader)}.{chosen}", text=reader.text(chosen), is_regex=by_regex)
