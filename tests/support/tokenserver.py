"""A token server for docker-registry: signs the JWTs it verifies (distribution, "Token Authentication")."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.certificates import Authority
from tests.support.fakehttp import in_background

ISSUER = "tests"
LIFETIME_SECONDS = 300


@dataclass(slots=True, kw_only=True)
class TokenServer:
    """A running server. Anyone may pull; accounts get every scope that they ask for."""

    url: str
    service: str
    bundle: Path
    """The certificate by which the registry verifies our signatures."""
    accounts: Mapping[str, str]
    refresh_tokens: Mapping[str, str] = field(default_factory=dict)
    """Identity tokens and their accounts."""
    allow_anonymous: bool = True
    lifetime: int = LIFETIME_SECONDS
    asked: list[str] = field(default_factory=list)
    """``METHOD account scope scope …`` of every request answered with a token; account "-" if anonymous."""


@contextlib.contextmanager
def token_server(directory: Path, *, service: str, accounts: Mapping[str, str]) -> Iterator[TokenServer]:
    """Serves tokens on a free loopback port until the block is left."""
    pair = Authority(directory).issue("token signer")
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    state = TokenServer(
        url=f"http://127.0.0.1:{server.server_address[1]}/token",
        service=service,
        bundle=pair.certificate,
        accounts=accounts,
    )
    _Handler.known[server.server_address[1]] = (state, key)
    with in_background(server):
        yield state
    del _Handler.known[server.server_address[1]]


def signed(claims: Mapping[str, object], key: ec.EllipticCurvePrivateKey) -> str:
    """``claims`` as a JWT signed with ES256, naming the key as libtrust (docker-registry 2) does."""
    header = {"typ": "JWT", "alg": "ES256", "kid": key_id(key)}
    body = b".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
    r, s = decode_dss_signature(key.sign(body, ec.ECDSA(hashes.SHA256())))
    return (body + b"." + _base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))).decode()


def key_id(key: ec.EllipticCurvePrivateKey) -> str:
    """libtrust's fingerprint: 30 bytes of the SHA-256 of the public key's DER, base32, in twelve groups of four."""
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode().rstrip("=")
    return ":".join(text[start : start + 4] for start in range(0, len(text), 4))


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    known: dict[int, tuple[TokenServer, ec.EllipticCurvePrivateKey]] = {}  # noqa: RUF012 (by port, see token_server)

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        account = self._basic_account()
        self._answer(account, query.get("scope", []))

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode())
        state, _ = self._state()
        account: str | None = None
        if form.get("grant_type") == ["refresh_token"]:
            account = state.refresh_tokens.get(form.get("refresh_token", [""])[0])
        elif form.get("grant_type") == ["password"]:
            account = self._known(form.get("username", [""])[0], form.get("password", [""])[0])
        self._answer(account or "", form.get("scope", [""])[0].split())

    def _state(self) -> tuple[TokenServer, ec.EllipticCurvePrivateKey]:
        return self.known[self.connection.getsockname()[1]]

    def _known(self, account: str, password: str) -> str | None:
        state, _ = self._state()
        return account if state.accounts.get(account) == password else None

    def _basic_account(self) -> str | None:
        """The account of the Authorization header: None without a header, "" for a wrong password."""
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        if not encoded:
            return None
        account, _, password = base64.b64decode(encoded).decode().partition(":")
        return (scheme == "Basic" and self._known(account, password)) or ""

    def _answer(self, account: str | None, scopes: list[str]) -> None:
        state, key = self._state()
        if account == "" or (account is None and not state.allow_anonymous):
            self._reply(401, {"details": "incorrect username or password"})
            return
        state.asked.append(" ".join((self.command, account or "-", *scopes)))
        now = int(time.time())
        granted = [_access(scope, everything=account is not None) for one in scopes for scope in one.split()]
        claims = {
            "iss": ISSUER,
            "sub": account or "",
            "aud": state.service,
            "exp": now + state.lifetime,
            "nbf": now - 60,
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": granted,
        }
        token = signed(claims, key)
        self._reply(200, {"token": token, "access_token": token, "expires_in": state.lifetime})

    def _reply(self, status: int, body: Mapping[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing: `asked` is the log."""


def _access(scope: str, *, everything: bool) -> dict[str, object]:
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    granted = [action for action in actions.split(",") if everything or action == "pull"]
    return {"type": kind, "name": name, "actions": granted}
