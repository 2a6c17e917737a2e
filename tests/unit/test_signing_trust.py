"""Whom keyless signatures are believed: the root that is shipped, and a private sigstore's."""

from __future__ import annotations

import base64
import copy
import json
from datetime import UTC, datetime, timedelta
from importlib import resources

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x448

from registry_image.errors import RequestError
from registry_image.signing.trust import PUBLIC_GOOD, public_good, read_trusted_root
from tests.support.sigstore import Change, Document, Sigstore, new_key, spki

SIGSTORE = Sigstore()


def store(host: str) -> bytes:
    """The root that sigstore's wheel carries."""
    return (resources.files("sigstore") / "_store" / f"https%3A%2F%2F{host}" / "trusted_root.json").read_bytes()


def test_the_shipped_root_is_the_public_goods_of_the_sigstore_that_is_tested_with() -> None:
    shipped = json.loads(PUBLIC_GOOD.read_text())
    assert shipped["trusted_root"] == json.loads(store("tuf-repo-cdn.sigstore.dev")), "make trusted-root"
    assert datetime.fromisoformat(shipped["date"]) > datetime(2026, 1, 1)  # a date


def test_the_public_good_has_a_log_an_authority_and_a_clock_of_today() -> None:
    root, now = public_good(), datetime.now(UTC)
    for section in (root.logs, root.certificate_logs, root.authorities, root.timestamp_authorities):
        assert any(now in each.valid for each in section)


def test_the_staging_root_can_be_read() -> None:
    assert read_trusted_root(store("tuf-repo-cdn.sigstage.dev"), "trusted_root").logs


def test_trust_ends_when_it_says() -> None:
    def end(root: Document) -> None:
        root["tlogs"][0]["publicKey"]["validFor"] = {"start": "2024-01-01T00:00:00Z", "end": "2025-01-01T00:00:00.5Z"}

    valid = read_trusted_root(SIGSTORE.trusted_root(end), "root").logs[0].valid
    ended = datetime(2025, 1, 1, 0, 0, 0, 500_000, UTC)
    assert datetime(2024, 1, 1, tzinfo=UTC) in valid
    assert ended - timedelta(microseconds=1) in valid
    assert ended not in valid
    assert datetime(2023, 12, 31, tzinfo=UTC) not in valid


def change(section: str, *path: str, value: object) -> Change:
    def apply(root: Document) -> None:
        place = root[section][0]
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return apply


def _with_an_unknown_version(root: Document) -> None:
    """The certificate's version is 8: X.509 has three."""
    certificate = root["certificateAuthorities"][0]["certChain"]["certificates"][0]
    der = base64.b64decode(certificate["rawBytes"])
    assert b"\xa0\x03\x02\x01\x02" in der
    certificate["rawBytes"] = base64.b64encode(
        der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1)
    ).decode()


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda root: root.update(mediaType="application/json"), "its mediaType is 'application/json'"),
        (lambda root: root.update(tlogs=[]), "no tlogs: by such a root no keyless signature counts"),
        (lambda root: root.update(ctlogs=[], certificateAuthorities=[]), "no ctlogs, no certificateAuthorities"),
        (change("tlogs", "publicKey", "rawBytes", value="AAAA"), "tlogs[0]: not a public key in DER"),
        (change("tlogs", "publicKey", "rawBytes", value="?"), "not base64"),
        (change("ctlogs", "publicKey", "validFor", "start", value="soon"), "start: not a time: 'soon'"),
        (change("ctlogs", "publicKey", "validFor", value={}), "start: expected a string"),
        (change("ctlogs", "publicKey", "validFor", "start", value="2024-01-01T00:00:00"), "without its zone"),
        (change("certificateAuthorities", "certChain", "certificates", value=[]), "no certificates"),
        (
            change("certificateAuthorities", "certChain", "certificates", value=[{"rawBytes": "AAAA"}]),
            "not certificates in DER",
        ),
        (_with_an_unknown_version, "not certificates in DER"),
    ],
)
def test_a_root_by_which_nothing_could_count_is_refused_before_anything_is_sent(broken: Change, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_trusted_root(SIGSTORE.trusted_root(broken), "source.verify.cosign.trusted_root")
    assert caught.value.message.startswith("source.verify.cosign.trusted_root: ")
    assert says in caught.value.message


#: SubjectPublicKeyInfos: an algorithm that nobody has registered, a curve that is not supported, no key to sign with.
KEYS_OF_TOMORROW = {
    "an unknown algorithm": bytes.fromhex("302a300506032b657f032100") + bytes(32),
    "an unknown curve": bytes.fromhex("301a301006072a8648ce3d020106052b8104007f03060004") + bytes(4),
    "a curve that is not supported": spki(new_key(ec.SECP256K1())),
    "a key that cannot sign": x448.X448PrivateKey.generate()
    .public_key()
    .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
}


@pytest.mark.parametrize("section", ["tlogs", "ctlogs"])
@pytest.mark.parametrize("kind", KEYS_OF_TOMORROW)
def test_a_log_with_a_key_of_another_kind_takes_no_trust_from_the_others(section: str, kind: str) -> None:
    def add(root: Document) -> None:
        other = copy.deepcopy(root[section][0])
        other["publicKey"]["rawBytes"] = base64.b64encode(KEYS_OF_TOMORROW[kind]).decode()
        root[section].insert(0, other)

    assert read_trusted_root(SIGSTORE.trusted_root(add), "root") == read_trusted_root(SIGSTORE.trusted_root(), "root")


@pytest.mark.parametrize("section", ["tlogs", "ctlogs"])
@pytest.mark.parametrize("kind", KEYS_OF_TOMORROW)
def test_a_root_that_has_only_logs_with_keys_of_another_kind_is_refused(section: str, kind: str) -> None:
    key = base64.b64encode(KEYS_OF_TOMORROW[kind]).decode()
    root = SIGSTORE.trusted_root(change(section, "publicKey", "rawBytes", value=key))
    with pytest.raises(RequestError, match=rf"^root: {section}\[0\]: a key (of a kind that is|on the curve secp256k1)"):
        read_trusted_root(root, "root")


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"null", b"{}"])
def test_what_is_no_root_is_refused(raw: bytes) -> None:
    with pytest.raises(RequestError):
        read_trusted_root(raw, "trusted_root")
