"""Who we are to a registry."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from registry_image.errors import AuthError


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A name and a password, or an identity (refresh) token; ``repr`` shows neither secret.

    With ``identity_token`` the token server is asked with that instead of the password (distribution, oauth.md).
    Raises AuthError for a name without a password or the reverse: going on without a login would hide the mistake.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.identity_token and not (self.username and self.password):
            missing = "password" if self.username else "username"
            raise AuthError(f"credentials: half a pair: there is no {missing}", hint="give both, or neither")

    @property
    def login(self) -> str:
        """Whom they name, for error texts."""
        return self.username or "an identity token"

    def basic(self) -> str:
        """The value of an Authorization header of the Basic scheme (RFC 7617), in UTF-8.

        An identity token stands in for the password: that is how servers that know no POST take it (ACR, GitLab).
        """
        secret = self.password or self.identity_token
        return "Basic " + b64encode(f"{self.username}:{secret}".encode()).decode("ascii")


#: Asked whenever a token or a header must be made, from any thread; None is anonymous. Clouds cache and renew inside
#: theirs. May raise AuthError.
CredentialProvider: TypeAlias = Callable[[], Credentials | None]


def anonymous() -> Credentials | None:
    """The provider of those who have no credentials."""
    return None
