"""Signatures as pipelines use them: get refuses what nobody named has signed, put signs before a tag moves."""

from __future__ import annotations

import itertools
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from registry_image.oci.digest import Digest
from tests.support import images, runner, tar
from tests.support.fakeregistry import Action, FakeRegistry, as_ever, fake_registry, status
from tests.support.images import Content, blob, image, index, layer, manifest_of, on, write_layout
from tests.support.registry import Registry
from tests.support.signed import COSIGN, referring
from tests.support.sigstore import ISSUER, SUBJECT, Recipe, Sigstore

NAME = "app"
FAST = {"REGISTRY_IMAGE_WAIT_SCALE": "0"}
ONE = image(layer(tar.archive(tar.file("f", b"one"))))
TWO = image(layer(tar.archive(tar.file("f", b"two"))))
IMAGE = index(on(ONE, images.ARCHITECTURE))
BOTH = index(on(ONE, images.ARCHITECTURE), on(TWO, "s390x"))
OURS, OTHERS = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
COSIGN_KEY, PASSWORD = COSIGN["keys"]["p256"]["private"], COSIGN["password"]
SIGSTORE = Sigstore()
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"


def private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def fingerprint(key: ec.EllipticCurvePrivateKey) -> str:
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return str(Digest.of(der))


def keys(*known: ec.EllipticCurvePrivateKey, **more: object) -> dict[str, object]:
    return {"cosign": {"keys": [public_pem(key) for key in known], **more}}


def sign_with(key: ec.EllipticCurvePrivateKey = OURS, **more: object) -> dict[str, object]:
    return {"cosign": {"key": private_pem(key), **more}}


@pytest.fixture
def registry_() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


def source(registry: FakeRegistry | Registry, **more: object) -> dict[str, object]:
    return {"repository": f"{registry.host}/{NAME}", "tag": "1", **more}


def put(registry: FakeRegistry, directory: Path, *, content: Content = IMAGE, **params: object) -> runner.Outcome:
    if not (directory / "image").exists():
        write_layout(directory / "image", index(content))
    request = {"source": source(registry), "params": {"image": "image", **params}}
    return runner.put(request, directory, environment=FAST)


def get(
    registry: FakeRegistry, directory: Path, digest: str = IMAGE.digest, *, skip: bool = False, **more: object
) -> runner.Outcome:
    request = {
        "source": source(registry, **more),
        "version": {"tag": "1", "digest": digest},
        "params": {"skip_download": skip},
    }
    return runner.get(request, directory, environment=FAST)


def signature_tag(digest: str = IMAGE.digest) -> str:
    return f"{digest.replace(':', '-')}.sig"


def attach_keyless(registry: FakeRegistry, form: str, recipe: Recipe | None = None) -> None:
    subject = Digest.parse(IMAGE.digest)
    if form == "classic":
        annotations, payload = SIGSTORE.classic(subject, recipe)
        config = blob(b"{}", "application/vnd.oci.image.config.v1+json")
        registry.add(
            NAME, manifest_of(config, [blob(payload, SIMPLE_SIGNING, annotations=annotations)]), signature_tag()
        )
        return
    registry.add(NAME, referring(IMAGE.manifest, SIGSTORE.bundle(subject, recipe)))


def keyless(**more: object) -> dict[str, object]:
    named = {"issuer": ISSUER, "subject": SUBJECT, **more}
    wanted = {name: value for name, value in named.items() if value is not None}
    return {"cosign": {"keyless": [wanted], "trusted_root": SIGSTORE.trusted_root().decode()}}


# get.


def names(directory: Path) -> set[str]:
    return {each.name for each in directory.iterdir()}


FORMATS: dict[str, dict[str, object]] = {
    "rootfs": {},
    "oci": {"format": "oci"},
    "oci-layout": {"format": "oci-layout"},
    "nothing": {"skip_download": True},
}


@pytest.mark.parametrize("params", FORMATS.values(), ids=FORMATS)
def test_with_verify_nothing_is_written_of_what_nobody_signed(
    registry_: FakeRegistry, tmp_path: Path, params: dict[str, object]
) -> None:
    registry_.add(NAME, IMAGE, "1")
    request = {
        "source": source(registry_, verify=keys(OURS)),
        "version": {"tag": "1", "digest": IMAGE.digest},
        "params": params,
    }
    text = runner.failed(
        runner.get(request, tmp_path / "out", environment=FAST), "no signature that counts: none found"
    )
    assert "hint: sign it" in text
    assert names(tmp_path / "out") == set()
    assert registry_.asked("GET", "/blobs/") == []


@pytest.mark.parametrize("form", ["classic", "bundle"])
@pytest.mark.parametrize("api", [True, False], ids=["referrers API", "fallback tag"])
def test_what_put_signed_can_be_got(registry_: FakeRegistry, tmp_path: Path, form: str, *, api: bool) -> None:
    registry_.referrers_api = api
    pushed = put(registry_, tmp_path, sign=sign_with(format=form))
    assert pushed.metadata["signed_by"] == fingerprint(OURS)
    registry_.log.clear()
    outcome = get(registry_, tmp_path / "out", verify=keys(OTHERS, OURS))
    assert outcome.metadata["signed_by"] == fingerprint(OURS)
    assert (tmp_path / "out/rootfs/f").read_text() == "one"
    asked = [ask.target.rpartition(f"/{NAME}/")[2] for ask in registry_.log]
    # The index; what the signature costs; the platform's manifest, its config and its layer.
    assert len(asked) == 1 + {"classic": 2, "bundle": 4 if api else 5}[form] + 3
    assert asked[1] == f"manifests/{signature_tag()}"
    text = runner.failed(get(registry_, tmp_path / "other", verify=keys(OTHERS)), "by another key")
    assert names(tmp_path / "other") == set()
    assert form == "classic" or fingerprint(OURS) in text


@pytest.mark.parametrize("form", ["classic", "bundle"])
def test_a_keyless_signature_says_who_built_the_image(registry_: FakeRegistry, tmp_path: Path, form: str) -> None:
    registry_.add(NAME, IMAGE, "1")
    attach_keyless(registry_, form)
    outcome = get(registry_, tmp_path / "out", verify=keyless())
    assert outcome.metadata["signed_by"] == f"{SUBJECT} ({ISSUER})"
    by_pattern = keyless(subject=None, subject_regex=r"https://ci\.test/o/.*")
    assert get(registry_, tmp_path / "pattern", verify=by_pattern).metadata["signed_by"]
    # An expression is over the whole text: a part of it is somebody else's.
    part = keyless(subject=None, subject_regex=r"https://ci\.test/o/app")
    runner.failed(get(registry_, tmp_path / "part", verify=part), "by another subject", SUBJECT, ISSUER)
    assert names(tmp_path / "part") == set()


def test_a_bundle_of_rekor_v2_counts_by_its_timestamp(registry_: FakeRegistry, tmp_path: Path) -> None:
    registry_.add(NAME, IMAGE, "1")
    attach_keyless(registry_, "bundle", Recipe(version="0.0.2", promise=False, stamped=("tsa",)))
    assert get(registry_, tmp_path / "out", verify=keyless()).metadata["signed_by"] == f"{SUBJECT} ({ISSUER})"


def cpu_seconds(run: Callable[[], runner.Outcome]) -> float:
    """What the quickest of three runs takes."""
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run().status == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


def test_to_verify_an_identity_takes_less_than_the_smallest_get(registry_: FakeRegistry, tmp_path: Path) -> None:
    registry_.add(NAME, IMAGE, "1")
    attach_keyless(registry_, "bundle", Recipe(version="0.0.2", promise=False, stamped=("tsa",)))
    places = (tmp_path / str(number) for number in itertools.count())
    plain = cpu_seconds(lambda: get(registry_, next(places)))
    assert cpu_seconds(lambda: get(registry_, next(places), verify=keyless())) < 2 * plain


def test_without_verify_no_signature_is_asked_for(registry_: FakeRegistry, tmp_path: Path) -> None:
    put(registry_, tmp_path, sign=sign_with())
    registry_.log.clear()
    assert "signed_by" not in get(registry_, tmp_path / "out").metadata
    assert registry_.asked("", "[.]sig|referrers") == []


def test_check_does_not_verify(registry_: FakeRegistry) -> None:
    registry_.add(NAME, IMAGE, "1")
    outcome = runner.check({"source": source(registry_, verify=keys(OURS))})
    assert outcome.versions == [{"tag": "1", "digest": IMAGE.digest}]
    assert registry_.asked("", "[.]sig|referrers") == []


def test_an_index_signs_for_its_platforms_and_a_platform_not_for_itself(
    registry_: FakeRegistry, tmp_path: Path
) -> None:
    put(registry_, tmp_path, content=BOTH, sign=sign_with())
    assert get(registry_, tmp_path / "out", BOTH.digest, verify=keys(OURS)).metadata["signed_by"]
    runner.failed(
        get(registry_, tmp_path / "platform", ONE.digest, verify=keys(OURS)),
        "none found",
        f"hint: it is a platform of the index {BOTH.digest}, which is signed",
    )


def mirrored(mirror: FakeRegistry, origin: FakeRegistry, tmp_path: Path, name: str, verify: object) -> runner.Outcome:
    mirrors = {origin.host: {"host": f"http://{mirror.host}"}}
    return get(origin, tmp_path / name, registry_mirrors=mirrors, verify=verify)


def test_where_a_mirrors_signatures_do_not_count_the_origin_is_asked(registry_: FakeRegistry, tmp_path: Path) -> None:
    put(registry_, tmp_path, sign=sign_with())
    with fake_registry() as mirror:
        mirror.add(NAME, IMAGE, "1")
        (tmp_path / "stale").mkdir()
        put(mirror, tmp_path / "stale", sign=sign_with(OTHERS))
        outcome = mirrored(mirror, registry_, tmp_path, "out", verify=keys(OURS))
        assert outcome.metadata["signed_by"] == fingerprint(OURS)
        assert "by another key" in outcome.stderr
        assert len(mirror.asked("GET", "/blobs/")) == 3  # what others signed, the config and the layer
        runner.failed(
            mirrored(mirror, registry_, tmp_path, "nobody", verify=keys(ec.generate_private_key(ec.SECP256R1()))),
            "by another key",
        )


def test_a_mirror_without_signatures_does_not_hide_the_origins(registry_: FakeRegistry, tmp_path: Path) -> None:
    put(registry_, tmp_path, sign=sign_with())
    with fake_registry() as mirror:
        mirror.add(NAME, IMAGE, "1")
        outcome = mirrored(mirror, registry_, tmp_path, "out", verify=keys(OURS))
        assert outcome.metadata["signed_by"] == fingerprint(OURS)
        assert registry_.asked("GET", f"/blobs/{layer_of(ONE)}") == []


def layer_of(content: Content) -> str:
    return content.blobs[-1].digest


@pytest.mark.parametrize("path", [r"[.]sig", "/referrers/"])
def test_a_look_up_that_fails_is_not_called_unsigned(registry_: FakeRegistry, tmp_path: Path, path: str) -> None:
    registry_.add(NAME, IMAGE, "1")
    registry_.script("GET", path, status(503), always=True)
    text = runner.failed(get(registry_, tmp_path / "out", verify=keys(OURS)), "503")
    assert "signature" not in text.partition("error:")[2]
    assert names(tmp_path / "out") == set()


@pytest.mark.parametrize(
    "answer", [status(400), status(406), status(404), status(200, b"<html></html>", content_type="text/html")]
)
def test_registries_without_the_referrers_api_say_so_in_their_ways(
    registry_: FakeRegistry, tmp_path: Path, answer: Action
) -> None:
    registry_.referrers_api = False
    put(registry_, tmp_path, sign=sign_with(format="bundle"))
    registry_.script("GET", "/referrers/", answer, always=True)
    assert get(registry_, tmp_path / "out", verify=keys(OURS)).metadata["signed_by"] == fingerprint(OURS)


BAD_POLICIES: dict[str, tuple[object, str]] = {
    "nothing": ({}, "cosign is required"),
    "nobody": ({"cosign": {}}, "names nobody"),
    "empty lists": ({"cosign": {"keys": [], "keyless": []}}, "names nobody"),
    "annotations alone": ({"cosign": {"annotations": {"env": "prod"}}}, "names nobody"),
    "an empty key": ({"cosign": {"keys": [""]}}, "not a public key in PEM"),
    "a private key": ({"cosign": {"keys": [COSIGN_KEY]}}, "expected a public key, got a private one"),
    "an issuer alone": ({"cosign": {"keyless": [{"issuer": ISSUER}]}}, "`subject` or `subject_regex`: neither"),
    "a subject alone": ({"cosign": {"keyless": [{"subject": "a"}]}}, "`issuer` or `issuer_regex`: neither"),
    "both": (
        {"cosign": {"keyless": [{"issuer": "a", "issuer_regex": "a", "subject": "a"}]}},
        "`issuer` or `issuer_regex`: both",
    ),
    "an empty half": ({"cosign": {"keyless": [{"issuer": ISSUER, "subject": ""}]}}, "neither is set"),
    "no expression": ({"cosign": {"keyless": [{"issuer": "a", "subject_regex": "("}]}}, "not a valid RE2 expression"),
    "no root": (
        {"cosign": {"keyless": [{"issuer": "a", "subject": "a"}], "trusted_root": "{}"}},
        "trusted_root: mediaType",
    ),
    "a root for keys": ({"cosign": {"keys": [public_pem(OURS)], "trusted_root": "{}"}}, "is for `keyless`"),
    "another system": ({"notary": {}}, "unknown field 'notary'"),
    "a typing error": ({"cosign": {"key": [public_pem(OURS)]}}, "unknown field 'key'"),
}


@pytest.mark.parametrize(("verify", "says"), BAD_POLICIES.values(), ids=BAD_POLICIES)
def test_a_policy_that_cannot_hold_is_refused_before_anything_is_sent(
    registry_: FakeRegistry, tmp_path: Path, verify: object, says: str
) -> None:
    text = runner.failed(get(registry_, tmp_path / "out", verify=verify), "verify", says)
    assert COSIGN_KEY.splitlines()[1] not in text
    assert registry_.log == []


@pytest.mark.parametrize("step", ["check", "out"])
def test_check_and_put_refuse_such_a_policy_too(registry_: FakeRegistry, tmp_path: Path, step: str) -> None:
    verify, says = BAD_POLICIES["a private key"]
    write_layout(tmp_path / "image", index(IMAGE))
    asked = {"source": source(registry_, verify=verify)}
    puts = {**asked, "params": {"image": "image"}}
    outcome = runner.check(asked) if step == "check" else runner.put(puts, tmp_path)
    runner.failed(outcome, "source.verify.cosign.keys[0]", says)
    assert registry_.log == []


# put.


@pytest.mark.parametrize("form", ["classic", "bundle", "both"])
def test_put_signs_before_a_tag_moves(registry_: FakeRegistry, tmp_path: Path, form: str) -> None:
    put(registry_, tmp_path, sign=sign_with(format=form), tags=["2"])
    written = [ask.target.rpartition("/")[2] for ask in registry_.asked("PUT", "/manifests/")]
    assert written[-2:] == ["1", "2"]
    assert written[:2] == [ONE.digest, IMAGE.digest]
    assert (signature_tag() in written) == (form != "bundle")


@pytest.mark.parametrize(("form", "path"), [("classic", "[.]sig"), ("bundle", "/manifests/sha256:")])
def test_a_signature_that_cannot_be_pushed_fails_the_put_and_no_tag_moved(
    registry_: FakeRegistry, tmp_path: Path, form: str, path: str
) -> None:
    passed = 2 if form == "bundle" else 0  # the image's own manifests
    registry_.script("PUT", path, *(passed * [as_ever]), status(405), status(405), status(405))
    text = runner.failed(put(registry_, tmp_path, sign=sign_with(format=form)), "error: put: sign ", "no tag was moved")
    assert ("format: bundle" in text) == (form == "classic")
    assert registry_.repositories[NAME].tags == {}


def test_a_tag_that_has_the_digest_already_is_signed_too_and_once(registry_: FakeRegistry, tmp_path: Path) -> None:
    put(registry_, tmp_path)
    assert signature_tag() not in registry_.repositories[NAME].tags
    assert "signed by" in put(registry_, tmp_path, sign=sign_with()).stderr
    first = registry_.repositories[NAME].tags[signature_tag()]
    registry_.log.clear()
    assert "signed already by" in put(registry_, tmp_path, sign=sign_with()).stderr
    assert registry_.repositories[NAME].tags[signature_tag()] == first
    assert [ask.method for ask in registry_.log if ask.method not in ("GET", "HEAD")] == []


def test_others_signatures_under_the_tag_are_kept(registry_: FakeRegistry, tmp_path: Path) -> None:
    put(registry_, tmp_path, sign=sign_with(OTHERS))
    put(registry_, tmp_path, sign=sign_with(OURS, annotations={"env": "prod"}))
    for key, more in ((OTHERS, {}), (OURS, {"annotations": {"env": "prod"}})):
        outcome = get(registry_, tmp_path / fingerprint(key)[7:], skip=True, verify=keys(key, **more))
        assert outcome.metadata["signed_by"] == fingerprint(key)


def test_cosigns_own_key_signs(registry_: FakeRegistry, tmp_path: Path) -> None:
    put(registry_, tmp_path, sign={"cosign": {"key": COSIGN_KEY, "password": PASSWORD}})
    verify = {"cosign": {"keys": [COSIGN["keys"]["p256"]["public"]]}}
    assert get(registry_, tmp_path / "out", verify=verify).metadata["signed_by"].startswith("sha256:0932897")


@pytest.mark.parametrize(
    ("sign", "says"),
    [
        (
            {"cosign": {"key": COSIGN_KEY, "password": "a wrong one"}},
            "not a private key in PEM that the password opens",
        ),
        ({"cosign": {"key": COSIGN_KEY}}, "the password opens"),
        ({"cosign": {"key": public_pem(OURS)}}, "not a private key"),
        ({"cosign": {}}, "key is required"),
        ({}, "cosign is required"),
        ({"cosign": {"key": private_pem(OURS), "format": "notary"}}, "expected one of classic, bundle, both"),
    ],
)
def test_a_key_that_cannot_sign_is_refused_before_anything_is_sent(
    registry_: FakeRegistry, tmp_path: Path, sign: object, says: str
) -> None:
    text = runner.failed(put(registry_, tmp_path, sign=sign), "sign", says)
    assert "a wrong one" not in text
    assert COSIGN_KEY.splitlines()[1] not in text
    assert registry_.log == []


def test_a_dry_run_says_what_would_be_signed_and_signs_nothing(registry_: FakeRegistry, tmp_path: Path) -> None:
    outcome = put(registry_, tmp_path, sign=sign_with(format="both"), dry_run=True)
    text = outcome.stderr
    assert f"dry run: would be signed by {fingerprint(OURS)}: {IMAGE.digest} (classic)" in text
    assert f"dry run: would be signed by {fingerprint(OURS)}: {IMAGE.digest} (bundle)" in text
    assert "signed_by" not in outcome.metadata
    assert {ask.method for ask in registry_.log} <= {"GET", "HEAD"}


def test_what_is_skipped_is_not_signed(registry_: FakeRegistry, tmp_path: Path) -> None:
    registry_.add(NAME, TWO, "1")
    put(registry_, tmp_path, sign=sign_with(), if_exists="skip")
    assert {ask.method for ask in registry_.log} <= {"GET", "HEAD"}
    assert registry_.repositories[NAME].tags == {"1": TWO.digest}


def test_a_put_that_does_not_sign_where_its_source_verifies_warns(registry_: FakeRegistry, tmp_path: Path) -> None:
    write_layout(tmp_path / "image", index(IMAGE))
    for sign, warned in ((None, True), (sign_with(), False)):
        request = {"source": source(registry_, verify=keys(OURS)), "params": {"image": "image", "sign": sign}}
        text = runner.put(request, tmp_path).stderr
        assert ("warning: `source.verify` is set and this put does not sign" in text) == warned


# from.


def promote(registry: FakeRegistry, tmp_path: Path, **params: object) -> runner.Outcome:
    request = {
        "source": {"repository": f"{registry.host}/promoted", "tag": "1"},
        "params": {"from": f"{registry.host}/{NAME}:1", **params},
    }
    return runner.put(request, tmp_path, environment=FAST)


@pytest.mark.parametrize("form", ["classic", "bundle"])
def test_a_promote_verifies_before_it_copies_and_takes_signatures_along(
    registry_: FakeRegistry, tmp_path: Path, form: str
) -> None:
    put(registry_, tmp_path, sign=sign_with(format=form))
    runner.failed(promote(registry_, tmp_path, verify=keys(OTHERS)), "by another key")
    assert "promoted" not in registry_.repositories
    outcome = promote(registry_, tmp_path, verify=keys(OURS), sign=sign_with(OTHERS))
    assert f"is signed by {fingerprint(OURS)}" in outcome.stderr
    for key in (OURS, OTHERS):
        request = {
            "source": {"repository": f"{registry_.host}/promoted", "verify": keys(key)},
            "version": {"digest": IMAGE.digest},
            "params": {"skip_download": True},
        }
        outcome = runner.get(request, tmp_path / fingerprint(key)[7:], environment=FAST)
        assert outcome.metadata["signed_by"] == fingerprint(key)


def test_only_a_promote_verifies_what_is_pushed(registry_: FakeRegistry, tmp_path: Path) -> None:
    runner.failed(put(registry_, tmp_path, verify=keys(OURS)), "params.verify", "`from`")
    assert registry_.log == []


# With a real registry.


@pytest.mark.parametrize("form", ["classic", "bundle", "both"])
def test_a_real_registry_keeps_the_signatures(
    registry: Registry, tmp_path: Path, repository_name: str, form: str
) -> None:
    write_layout(tmp_path / "image", index(BOTH))
    named = {**registry.source(repository_name), "tag": "1"}
    for key in (OTHERS, OURS, OURS):
        params = {"image": "image", "sign": sign_with(key, format=form)}
        assert runner.put({"source": named, "params": params}, tmp_path).version["digest"] == BOTH.digest
    for key in (OTHERS, OURS):
        request = {"source": {**named, "verify": keys(key)}, "version": {"digest": BOTH.digest}}
        outcome = runner.get(request, tmp_path / fingerprint(key)[7:])
        assert outcome.metadata["signed_by"] == fingerprint(key)
        assert (tmp_path / fingerprint(key)[7:] / "rootfs/f").read_text() == "one"
