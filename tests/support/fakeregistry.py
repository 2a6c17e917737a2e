"""A registry in this process that breaks, lies or stalls on demand, as no real one does.

It follows the distribution spec (tests/conformance compares it with docker-registry), keeps everything in memory, logs
every request, and changes single answers by a script:

    with fake_registry() as registry:
        digest = registry.add("some/name", image(tar), "latest")
        registry.script("GET", "/blobs/", cut(100), status(503, retry_after="0"))   # the first two only
        ...
        assert registry.asked("GET", "/blobs/")[1].headers["range"] == "bytes=100-"
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias
from urllib.parse import parse_qs, urlsplit

from tests.support.certificates import KeyPair
from tests.support.fakehttp import Ask, Reply, serve
from tests.support.images import Content

Answer: TypeAlias = Callable[[], Reply]
Action: TypeAlias = Callable[[Ask, Answer], Reply]
"""The answer to one request; ``answer`` handles it as without a script."""

_NAME = r"(?P<name>[a-z0-9._/-]+?)"
_ROUTES = {
    "manifest": re.compile(rf"/v2/{_NAME}/manifests/(?P<reference>[^/]+)"),
    "blob": re.compile(rf"/v2/{_NAME}/blobs/(?P<reference>[a-z0-9]+:[a-f0-9]+)"),
    "start": re.compile(rf"/v2/{_NAME}/blobs/uploads/"),
    "upload": re.compile(rf"/v2/{_NAME}/blobs/uploads/(?P<reference>[^/]+)"),
    "tags": re.compile(rf"/v2/{_NAME}/tags/list"),
    "referrers": re.compile(rf"/v2/{_NAME}/referrers/(?P<reference>[^/]+)"),
}


# Actions for scripts.


def status(code: int, body: bytes | str = b"", **headers: str) -> Action:
    """Answers that status and does nothing else; ``retry_after="1"`` is a header ``Retry-After: 1``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda ask, answer: Reply(code, named, body.encode() if isinstance(body, str) else body)


def redirect(url: str, code: int = 307) -> Action:
    return status(code, location=url)


def cut(after: int, *, reset: bool = False) -> Action:
    """Ends the connection after that many bytes of the body; with ``reset`` by RST."""
    return lambda ask, answer: replace(answer(), cut_after=after, reset=reset)


def stall(after: int = 0) -> Action:
    """Sends nothing after that many bytes of the body, until the registry is closed."""
    return lambda ask, answer: replace(answer(), stall_after=after)


def drop(ask: Ask, answer: Answer) -> Reply:
    """Closes the connection without an answer."""
    return Reply(0)


def body(data: bytes | Iterable[bytes]) -> Action:
    """Another body, with its true length; an iterable is sent in chunks and may be endless."""
    return lambda ask, answer: replace(answer(), body=data)


def header(name: str, value: str | None) -> Action:
    """Sets a header, or removes it (None); a false Content-Length is sent as it is."""

    def change(ask: Ask, answer: Answer) -> Reply:
        reply = answer()
        return replace(reply, headers={**reply.headers, name.lower(): value})

    return change


def unless_logged_in(action: Action) -> Action:
    """``action`` for a request without Authorization."""
    return lambda ask, answer: answer() if "authorization" in ask.headers else action(ask, answer)


def without_ranges(ask: Ask, answer: Answer) -> Reply:
    """Ignores Range."""
    ask.headers.pop("range", None)
    return answer()


def as_ever(ask: Ask, answer: Answer) -> Reply:
    """Changes nothing: lets a request pass before the next action."""
    return answer()


@dataclass(slots=True)
class Repository:
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """By digest: media type and bytes."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Rule:
    method: str
    pattern: re.Pattern[str]
    actions: deque[Action]
    always: bool


class FakeRegistry:
    """Attributes may be changed at any time, between requests."""

    def __init__(self) -> None:
        self.host = ""
        self.url = ""
        self.repositories: dict[str, Repository] = {}
        self.log: list[Ask] = []
        self.auth: Literal["none", "basic", "token"] = "none"
        self.accounts: dict[str, str] = {}
        self.identity_tokens: set[str] = set()
        self.realm = ""
        self.token_life: float | str | None = None
        """``expires_in`` of tokens in seconds, left out if None. Tokens work until `expire_tokens`."""
        self.page_size: int | None = None
        """The most tags on one page; None for as many as the request asks for."""
        self.referrers_api = True
        self.latency = 0.0
        """Seconds before each answer, for benchmarks."""
        self.quota: str | None = None
        """Value of RateLimit-Remaining."""
        self._rules: list[_Rule] = []
        self._tokens: dict[str, str] = {}
        self._uploads: dict[str, bytearray] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def add(self, name: str, content: Content, *tags: str) -> str:
        """Keeps an image or index under ``tags``; returns its digest."""
        repository = self.repositories.setdefault(name, Repository())
        for child in content.children:
            self.add(name, child)
        repository.blobs.update({blob.digest: blob.data for blob in content.blobs})
        manifest = content.manifest
        repository.manifests[manifest.digest] = (manifest.media_type, manifest.data)
        repository.tags.update(dict.fromkeys(tags, manifest.digest))
        return manifest.digest

    def script(self, method: str, path: str, *actions: Action, always: bool = False) -> None:
        """Applies ``actions``, one each, to the next requests of that method whose path has the regular expression
        ``path``; with ``always`` the first action applies to all. Older scripts come first until they are used up."""
        self._rules.append(_Rule(method, re.compile(path), deque(actions), always))

    def asked(self, method: str = "", path: str = "") -> list[Ask]:
        """The requests so far of that method with the regular expression ``path`` in their target."""
        return [ask for ask in list(self.log) if method in ("", ask.method) and re.search(path, ask.target)]

    def expire_tokens(self) -> None:
        self._tokens.clear()

    def handle(self, ask: Ask) -> Reply:
        if self.latency:
            time.sleep(self.latency)
        with self._lock:
            self.log.append(replace(ask, headers=dict(ask.headers)))
            action = self._scripted(ask)
            reply = action(ask, lambda: self._answer(ask)) if action else self._answer(ask)
        if self.quota is not None:
            reply = replace(reply, headers={**reply.headers, "ratelimit-remaining": self.quota})
        return reply

    def _scripted(self, ask: Ask) -> Action | None:
        for rule in self._rules:
            if rule.actions and rule.method == ask.method and rule.pattern.search(ask.target):
                return rule.actions[0] if rule.always else rule.actions.popleft()
        return None

    def _answer(self, ask: Ask) -> Reply:
        path = urlsplit(ask.target).path
        if path == "/token":
            return self._token(ask)
        if path == "/v2/":
            return self._ping(ask)
        for kind, route in _ROUTES.items():
            if match := route.fullmatch(path):
                found = match.groupdict()
                refused = self._challenge(ask, found["name"])
                handler: Callable[..., Reply] = getattr(self, f"_{kind}")
                return refused or handler(ask, **found)
        return _error(404, "UNSUPPORTED", "no such route")

    # Logging in.

    def _challenge(self, ask: Ask, name: str) -> Reply | None:
        given = ask.headers.get("authorization", "")
        actions = "pull" if ask.method in ("GET", "HEAD") else "pull,push"
        if self.auth == "basic" and self._account(given) is None:
            return _error(401, "UNAUTHORIZED", "log in first", www_authenticate='Basic realm="fake"')
        if self.auth == "token" and not self._grants(given.removeprefix("Bearer "), name, actions):
            scope = f"repository:{name}:{actions}"
            value = f'Bearer realm="{self.realm}",service="fake",scope="{scope}"'
            return _error(401, "UNAUTHORIZED", "authentication required", www_authenticate=value)
        return None

    def _ping(self, ask: Ask) -> Reply:
        given = ask.headers.get("authorization", "")
        if self.auth == "basic":
            return self._challenge(ask, "") or _json({})
        if self.auth == "token" and given.removeprefix("Bearer ") not in self._tokens:
            value = f'Bearer realm="{self.realm}",service="fake"'
            return _error(401, "UNAUTHORIZED", "authentication required", www_authenticate=value)
        return _json({})

    def _account(self, authorization: str) -> str | None:
        kind, _, encoded = authorization.partition(" ")
        if kind != "Basic":
            return None
        account, _, password = base64.b64decode(encoded).decode().partition(":")
        return account if password in (self.accounts.get(account), *self.identity_tokens) else None

    def _grants(self, token: str, name: str, actions: str) -> bool:
        granted = self._tokens.get(token, "")
        return any(
            scope.startswith(f"repository:{name}:") and set(actions.split(",")) <= set(scope.split(":")[2].split(","))
            for scope in granted.split()
        )

    def _token(self, ask: Ask) -> Reply:
        query = parse_qs(ask.body.decode() if ask.method == "POST" else urlsplit(ask.target).query)
        known = self._account(ask.headers["authorization"]) is not None if "authorization" in ask.headers else True
        if ask.method == "POST":
            known = query.get("refresh_token", [""])[0] in self.identity_tokens
        if not known:
            return _error(401, "UNAUTHORIZED", "incorrect username or password")
        token = f"secret-{next(self._numbers)}"
        self._tokens[token] = " ".join(query.get("scope", []))
        life = {} if self.token_life is None else {"expires_in": self.token_life}
        return _json({"token": token, **life})

    # The distribution spec.

    def _manifest(self, ask: Ask, name: str, reference: str) -> Reply:
        if ask.method == "PUT":
            repository = self.repositories.setdefault(name, Repository())
            digest = _digest(ask.body)
            repository.manifests[digest] = (ask.headers.get("content-type", ""), ask.body)
            if ":" not in reference:
                repository.tags[reference] = digest
            return Reply(201, {"location": f"/v2/{name}/manifests/{digest}", "docker-content-digest": digest})
        if name not in self.repositories:
            return _error(404, "NAME_UNKNOWN", "repository name not known to registry")
        repository = self.repositories[name]
        digest = reference if ":" in reference else repository.tags.get(reference, "")
        media_type, data = repository.manifests.get(digest, ("", b""))
        if not media_type or media_type not in ask.headers.get("accept", ""):
            return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return Reply(200, {"content-type": media_type, "docker-content-digest": digest}, data)

    def _blob(self, ask: Ask, name: str, reference: str) -> Reply:
        data = self.repositories[name].blobs.get(reference) if name in self.repositories else None
        if data is None:
            return _error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        headers: dict[str, str | None] = {
            "content-type": "application/octet-stream",
            "docker-content-digest": reference,
        }
        wanted = re.fullmatch(r"bytes=(\d+)-", ask.headers.get("range", ""))
        if wanted and int(wanted[1]) >= len(data):
            return _error(416, "RANGE_INVALID", "invalid content range")
        if wanted:
            headers["content-range"] = f"bytes {wanted[1]}-{len(data) - 1}/{len(data)}"
            return Reply(206, headers, data[int(wanted[1]) :])
        return Reply(200, headers, data)

    def _start(self, ask: Ask, name: str) -> Reply:
        query = {key: values[0] for key, values in parse_qs(urlsplit(ask.target).query).items()}
        repository = self.repositories.setdefault(name, Repository())
        source = self.repositories.get(query.get("from", ""))
        if source is not None and query.get("mount", "") in source.blobs:
            repository.blobs[query["mount"]] = source.blobs[query["mount"]]
            return Reply(201, {"location": f"/v2/{name}/blobs/{query['mount']}"})
        session = f"session-{next(self._numbers)}"
        self._uploads[session] = bytearray()
        return Reply(202, {"location": f"/v2/{name}/blobs/uploads/{session}?_state=opaque%3D", "range": "0-0"})

    def _upload(self, ask: Ask, name: str, reference: str) -> Reply:
        if reference not in self._uploads:
            return _error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        query = parse_qs(urlsplit(ask.target).query)
        data = self._uploads[reference]
        data += ask.body
        if ask.method == "PATCH":
            return Reply(202, {"location": ask.target, "range": f"0-{len(data) - 1}"})
        digest = query.get("digest", [""])[0]
        if "_state" not in query or digest != _digest(bytes(data)):
            return _error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.repositories[name].blobs[digest] = bytes(self._uploads.pop(reference))
        return Reply(201, {"location": f"/v2/{name}/blobs/{digest}", "docker-content-digest": digest})

    def _tags(self, ask: Ask, name: str) -> Reply:
        if name not in self.repositories:
            return _error(404, "NAME_UNKNOWN", "repository name not known to registry")
        query = parse_qs(urlsplit(ask.target).query)
        names = sorted(self.repositories[name].tags)
        start = next((i + 1 for i, tag in enumerate(names) if tag == query.get("last", [""])[0]), 0)
        size = min(int(query.get("n", ["1000"])[0]), self.page_size or 10**9)
        page = names[start : start + size]
        more = start + size < len(names)
        link = {"link": f'</v2/{name}/tags/list?last={page[-1]}&n={size}>; rel="next"'} if more else {}
        return _json({"name": name, "tags": page or None}, **link)

    def _referrers(self, ask: Ask, name: str, reference: str) -> Reply:
        if not self.referrers_api:
            return _error(404, "UNSUPPORTED", "no such route")
        if name not in self.repositories:
            return _error(404, "NAME_UNKNOWN", "repository name not known to registry")
        found = []
        for digest, (media_type, data) in self.repositories[name].manifests.items():
            document = json.loads(data)
            if document.get("subject", {}).get("digest") == reference:
                found.append({"mediaType": media_type, "digest": digest, "size": len(data)})
        media_type = "application/vnd.oci.image.index.v1+json"
        return _json({"schemaVersion": 2, "mediaType": media_type, "manifests": found}, content_type=media_type)


@contextlib.contextmanager
def fake_registry(pair: KeyPair | None = None) -> Iterator[FakeRegistry]:
    """Runs a registry on a free loopback port until the block is left; with a key ``pair`` by TLS."""
    registry = FakeRegistry()
    with serve(registry.handle, pair) as host:
        registry.host = host
        registry.url = f"{'https' if pair else 'http'}://{host}"
        registry.realm = f"{registry.url}/token"
        yield registry


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _json(document: Mapping[str, object], **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in {"content_type": "application/json", **headers}.items()}
    return Reply(200, named, json.dumps(document).encode())


def _error(code: int, name: str, message: str, **headers: str) -> Reply:
    document = {"errors": [{"code": name, "message": message, "detail": None}]}
    return replace(_json(document, **headers), status=code)
