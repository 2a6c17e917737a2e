"""The login to a registry: Basic, or a token from the server that it names (distribution, token.md and oauth.md)."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from registry_image.auth.credentials import CredentialProvider, Credentials
from registry_image.decode import JSONReader
from registry_image.errors import (
    AuthError,
    InvalidManifest,
    RegistryError,
    ResourceError,
    TransportError,
    Unauthorized,
    quote,
)
from registry_image.net.http import Reply, Request
from registry_image.net.origin import (
    internal_problem,
    is_address,
    origin_of,
    over_tls,
    redirect_problem,
    show_host,
    show_url,
)
from registry_image.net.retry import ONCE
from registry_image.record import replace

if TYPE_CHECKING:
    from registry_image.auth.challenge import Challenge
    from registry_image.net.client import Client

#: The most that is read of an answer about logging in, in bytes; the clouds' tokens have up to 10 KiB.
MAX_TOKEN_ANSWER = 256 * 1024
#: The longest token that is accepted, in bytes; servers refuse headers beyond 8 to 32 KiB.
MAX_TOKEN = 64 * 1024
#: The life in seconds of a token without ``expires_in`` (token.md).
DEFAULT_LIFE = 60.0
#: The longest life in seconds that is believed; a step takes hours at most.
MAX_LIFE = 86_400.0
#: Tokens are renewed this many seconds before their end, or after three quarters of their life if that is later.
RENEW_BEFORE = 30.0
_EXCHANGE = "/oauth2/exchange"
_CLIENT_ID = "registry-image-resource"
_WRONG = "wrong, expired, or of another registry"


def merge_scopes(wanted: Iterable[str], challenged: str) -> tuple[str, ...]:
    """``wanted``, and the scopes of the challenge (separated by spaces) that it does not cover."""
    scopes = list(wanted)
    for scope in challenged.split():
        resource, _, actions = scope.rpartition(":")
        covered = any(
            known.rpartition(":")[0] == resource and set(actions.split(",")) <= set(known.rpartition(":")[2].split(","))
            for known in scopes
        )
        if not covered:
            scopes.append(scope)
    return tuple(scopes)


def read_token(body: bytes, what: str) -> tuple[str, float]:
    """The token in a token server's answer, and its life in seconds.

    Raises AuthError, which repeats nothing of the answer: it may hold a part of a token.
    """
    try:
        reader = JSONReader.parse(body, what)
        value = reader.text("token", "") or reader.text("access_token", "")
        life = _life(reader)
    except InvalidManifest as error:
        raise AuthError(f"{what}: the answer of the token server cannot be read") from error
    if not value or len(value) > MAX_TOKEN or not (value.isascii() and value.isprintable()):
        raise AuthError(f"{what}: the answer of the token server holds no usable token")
    return value, min(life, MAX_LIFE) if life > 0 else DEFAULT_LIFE


def _life(reader: JSONReader) -> float:
    """``expires_in``, which some servers write as a text or a fraction; 0 if it is absent or no number: the token may
    be good all the same."""
    try:
        return float(reader.json("expires_in").strip('"'))
    except ValueError:
        return 0.0


class Account:
    """The logins of one repository share it. ``credentials`` None is anonymous."""

    def __init__(self, client: Client, host: str, credentials: CredentialProvider | None, *, insecure: bool) -> None:
        self.client = client
        self.host = host
        self.insecure = insecure
        self._provider = credentials
        self._lock = threading.Lock()
        self._asked = credentials is None
        self._challenge: Challenge | None = None

    @property
    def home(self) -> str:
        return f"https://{self.host}"

    def credentials(self) -> Credentials | None:
        """May raise AuthError, as a CredentialProvider."""
        return self._provider() if self._provider else None

    def challenge(self) -> Challenge | None:
        """The challenge to ``GET /v2/``, which is answered once, and only if there are credentials.

        Some registries challenge there only, and answer other requests without a login as if there were nothing
        (containerd#3291, keppel#522, zot#3869): while it is in trouble, what it has is not known. Another answer says
        nothing about logins. The scope is left out: ghcr.io names a placeholder, repository:user/image:pull. Raises
        RegistryError and TransportError that are worth another attempt.
        """
        with self._lock:
            if not self._asked:
                try:
                    self._challenge = self._ask()
                except ResourceError as error:
                    if error.retryable:
                        raise  # the request as a whole is retried, and asks again
                self._asked = True
            return self._challenge

    def _ask(self) -> Challenge | None:
        request = Request(
            method="GET",
            url=f"{self.home}/v2/",
            what=f"ask {self.host} how to log in",
            accept=(HTTPStatus.UNAUTHORIZED,),
            policy=ONCE,
            check_redirect=self._check,
        )
        reply = self.client.fetch(request, MAX_TOKEN_ANSWER)
        # After a redirect it may be another host's, which must not get our credentials.
        ours = origin_of(reply.url) == origin_of(self.client.schemes.apply(self.home))
        challenge = (
            _chosen(reply.headers.all("www-authenticate")) if ours and reply.status == HTTPStatus.UNAUTHORIZED else None
        )
        # ACR may name its exchange of Entra's tokens (auth/acr.py), which is no token server of the distribution spec.
        if challenge is None or challenge.parameters.get("realm", "").partition("?")[0].endswith(_EXCHANGE):
            return None
        parameters = {name: value for name, value in challenge.parameters.items() if name != "scope"}
        return replace(challenge, parameters=parameters)

    def _check(self, url: str) -> None:
        if internal_problem(url, self.host, insecure=self.insecure):
            raise TransportError("refused to follow a redirect into this network", retryable=False)


class Login:
    """An `Auth` for one account and set of scopes.

    With credentials it logs in before the first request, by the challenge of `Account.challenge`; else, and if there
    was none, it sends nothing before a request is challenged.
    """

    def __init__(self, account: Account, scopes: tuple[str, ...]) -> None:
        self._account = account
        self._client = account.client
        self._host = account.host
        self._scopes = scopes
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._value = ""
        self._renew_at = float("-inf")
        self._sent: Credentials | None = None

    @property
    def home(self) -> str:
        return self._account.home

    @property
    def login(self) -> str:
        with suppress(ResourceError):  # it is for the text of another error
            credentials = self._sent or self._account.credentials()
            return credentials.login if credentials else ""
        return ""

    def refusal(self, status: int) -> str:
        user, sent = self.login, self._sent
        if not user:
            return _anonymous(self._host)
        if sent is None:
            return f"the credentials of {quote(user)} were not sent: the registry asked for no login that we know"
        if status == HTTPStatus.UNAUTHORIZED and self._value.startswith("Basic "):
            return f"the registry does not take the credentials of {quote(user)}: {_WRONG}{sent.advice}"
        # A token server knows the credentials before it gives a token.
        return f"{quote(user)} is logged in but may not do this: see its permissions; the repository may not exist"

    def authorization(self) -> str:
        with self._lock:
            if self._challenge is None:
                self._challenge = self._account.challenge()
            if self._challenge is not None and self._client.clock.monotonic() >= self._renew_at:
                self._answer(self._challenge)
            return self._value

    def challenged(self, refused: str, challenges: list[str]) -> bool:
        with self._lock:
            if self._value != refused:
                return True  # another thread has logged in since
            # Registries that challenge at /v2/ only answer an expired token with a bare 401.
            challenge = _chosen(challenges) or self._challenge
            if challenge is None:
                return False
            self._challenge = challenge
            self._answer(challenge)
            return bool(self._value) and self._value != refused

    def _answer(self, challenge: Challenge) -> None:
        credentials = self._sent = self._account.credentials()
        if challenge.scheme == "basic":
            self._value = credentials.basic() if credentials else ""
            self._renew_at = float("inf")
            return
        asked_at = self._client.clock.monotonic()
        token, life = self._token(challenge, credentials)
        self._value = f"Bearer {token}"
        self._renew_at = asked_at + max(life - RENEW_BEFORE, life * 0.75)

    def _token(self, challenge: Challenge, credentials: Credentials | None) -> tuple[str, float]:
        realm = challenge.parameters["realm"].strip().partition("#")[0]
        if not is_address(realm):
            field = f"the realm of its WWW-Authenticate, {quote(realm)},"
            raise TransportError(f"log in to {self._host}: {field} is not an http or https address", retryable=False)
        realm = over_tls(self._client.schemes.apply(self.home), realm)
        self._check(realm)
        service = challenge.parameters.get("service", "")
        scopes = merge_scopes(self._scopes, challenge.parameters.get("scope", ""))
        what = f"log in to {self._host}: token server"
        try:
            reply = None
            if credentials and credentials.identity_token:
                reply = self._post(realm, what, _refresh_form(credentials.identity_token, service, scopes))
            if reply is None:
                reply = self._get(realm, what, credentials, _query(service, scopes))
        except RegistryError as error:
            if error.retryable:
                raise
            raise AuthError(error.message, hint=self._refused(error, credentials)) from error
        return read_token(reply.body, f"{what}: {show_host(reply.url)}")

    def _refused(self, error: RegistryError, credentials: Credentials | None) -> str | None:
        if not isinstance(error, Unauthorized):
            return error.hint
        if credentials is None:
            return _anonymous(self._host)
        # GitLab's answers 403 to a wrong password.
        why = f"{_WRONG}, or without this right{credentials.advice}"
        return f"the token server refuses the credentials of {quote(credentials.login)}: {why}"

    def _post(self, realm: str, what: str, form: str) -> Reply | None:
        """None if the server knows only the older GET (oauth.md): older Giteas answer 405 to POST (gitea#28457)."""
        request = Request(
            method="POST",
            url=realm,
            what=what,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=form.encode("ascii"),
            accept=(404, 405),
            policy=ONCE,  # the challenged request is retried as a whole, and no thread waits for the lock
            check_redirect=self._check,
        )
        reply = self._client.fetch(request, MAX_TOKEN_ANSWER)
        return reply if reply.status not in request.accept else None

    def _get(self, realm: str, what: str, credentials: Credentials | None, query: str) -> Reply:
        separator = "&" if "?" in realm else "?"
        request = Request(
            method="GET",
            url=f"{realm}{separator}{query}" if query else realm,
            what=what,
            auth=_Basic(realm, credentials) if credentials else None,
            policy=ONCE,
            check_redirect=self._check,
        )
        return self._client.fetch(request, MAX_TOKEN_ANSWER)

    def _check(self, url: str) -> None:
        problem = redirect_problem(url, self._host, insecure=self._account.insecure)
        if problem:
            raise AuthError(
                f"log in to {self._host}: refused to ask the token server it names, {show_url(url)}: {problem}",
                hint="set `insecure: true` if this registry is meant to be like that",
            )


class _Basic:
    """An `Auth` for the token server, which sends no challenge."""

    def __init__(self, home: str, credentials: Credentials) -> None:
        self.home = home
        self.login = credentials.login
        self._value = credentials.basic()

    def refusal(self, status: int) -> str:
        return ""  # `Login` explains it

    def authorization(self) -> str:
        return self._value

    def challenged(self, refused: str, challenges: list[str]) -> bool:
        return False


def _anonymous(host: str) -> str:
    return (
        f"no credentials are set for {host}: to push, and to read a private repository, set `username` and `password` "
        "(or `auths`, unless it is the source's own registry); it may also not exist"
    )


def _query(service: str, scopes: tuple[str, ...]) -> str:
    pairs = [("service", service)] if service else []
    return urlencode(pairs + [("scope", scope) for scope in scopes])


def _refresh_form(identity_token: str, service: str, scopes: tuple[str, ...]) -> str:
    form = {"grant_type": "refresh_token", "refresh_token": identity_token, "client_id": _CLIENT_ID}
    return urlencode({**form, "service": service, "scope": " ".join(scopes)})


def _chosen(challenges: list[str]) -> Challenge | None:
    from registry_image.auth.challenge import choose_challenge, parse_challenges  # many checks meet no challenge

    return choose_challenge(parse_challenges(challenges))
