"""Credentials for a registry."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import TypeAlias

from registry_image.errors import AuthError
from registry_image.net.secrets import SECRETS
from registry_image.record import Hidden, record


@record(kw_only=True)
class Credentials:
    """A name and a password, or an identity (refresh) token (distribution, oauth.md); ``repr`` shows no secret.

    Raises AuthError for a name without a password or the reverse, because an anonymous request would hide the mistake,
    and for half of a surrogate pair, which JSON may hold and no header can carry.
    """

    username: str = ""
    password: Hidden[str] = ""
    identity_token: Hidden[str] = ""

    def __post_init__(self) -> None:
        SECRETS.add(self.password, self.identity_token)
        if not self.identity_token and not (self.username and self.password):
            missing = "password" if self.username else "username"
            raise AuthError(f"credentials: the {missing} is missing", hint="give both, or neither")
        try:
            f"{self.username}{self.password}{self.identity_token}".encode()
        except UnicodeEncodeError:
            raise AuthError("credentials: a character that UTF-8 cannot encode") from None

    @property
    def login(self) -> str:
        """The user, for error texts."""
        return self.username or "an identity token"

    @property
    def advice(self) -> str:
        """What may be wrong with the secret, for the hint of a refused login: "" or a clause after "; ". The secret is
        sent as it is: white space may belong to it."""
        name, secret = ("password", self.password) if self.password else ("identity token", self.identity_token)
        return f"; the {name} ends in white space" if secret != secret.rstrip() else ""

    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617), in UTF-8.

        Token servers without POST (ACR, GitLab) take an identity token in place of the password.
        """
        secret = self.password or self.identity_token
        return "Basic " + b64encode(f"{self.username}:{secret}".encode()).decode("ascii")


#: Called for every new token or header, from any thread; None is anonymous. May raise AuthError.
CredentialProvider: TypeAlias = Callable[[], Credentials | None]
