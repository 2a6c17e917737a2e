"""Who we are at one registry, and how it wants us to log in."""

from __future__ import annotations

import threading
from contextlib import suppress

from registry_image.auth.challenge import Challenge, choose_challenge, parse_challenges
from registry_image.auth.credentials import CredentialProvider, Credentials
from registry_image.errors import ResourceError, TransportError
from registry_image.net.client import Client
from registry_image.net.http import MAX_ERROR_BODY, Request
from registry_image.net.origin import internal_problem
from registry_image.net.retry import ONCE

_EXCHANGE = "/oauth2/exchange"


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
        """The challenge to ``GET /v2/``, which is sent once, and only if there are credentials.

        Some registries challenge there only, and answer other requests without a login as if there were nothing
        (containerd#3291, keppel#522, zot#3869). No answer, or another one, says nothing about logins. The scope is left
        out: ghcr.io names a placeholder, repository:user/image:pull.
        """
        with self._lock:
            if not self._asked:
                self._asked = True
                question = _Question(self.home)
                request = Request(
                    method="GET",
                    url=f"{self.home}/v2/",
                    what=f"ask {self.host} how to log in",
                    auth=question,
                    policy=ONCE,
                    check_redirect=self._check,
                )
                with suppress(ResourceError):
                    self.client.fetch(request, MAX_ERROR_BODY)
                self._challenge = question.challenge
            return self._challenge

    def _check(self, url: str) -> None:
        if internal_problem(url, self.host, insecure=self.insecure):
            raise TransportError("refused to follow a redirect into this network", retryable=False)


class _Question:
    """An `Auth` that keeps the challenge and answers none. The client shows it challenges of ``home`` only."""

    login = ""
    advice = ""

    def __init__(self, home: str) -> None:
        self.home = home
        self.challenge: Challenge | None = None

    def authorization(self) -> str:
        return ""

    def challenged(self, refused: str, challenges: list[str]) -> bool:
        challenge = choose_challenge(parse_challenges(challenges))
        # ACR may name its exchange of Entra's tokens (auth/acr.py), which is no token server of the distribution spec.
        if challenge is not None and not challenge.parameters.get("realm", "").partition("?")[0].endswith(_EXCHANGE):
            parameters = {name: value for name, value in challenge.parameters.items() if name != "scope"}
            self.challenge = Challenge(challenge.scheme, parameters)
        return False
