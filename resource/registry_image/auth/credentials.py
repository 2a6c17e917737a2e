"""Who we are to a registry."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A name and a password, or an identity (refresh) token; ``repr`` shows neither secret.

    With ``identity_token`` the token server is asked with that instead of the password (distribution, oauth.md).
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def basic(self) -> str:
        """The value of an Authorization header of the Basic scheme (RFC 7617), in UTF-8."""
        return "Basic " + b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")


#: Asked whenever a token or a header must be made, from any thread; None is anonymous. Clouds cache and renew inside
#: theirs. May raise AuthError.
CredentialProvider: TypeAlias = Callable[[], Credentials | None]


def anonymous() -> Credentials | None:
    """The provider of those who have no credentials."""
    return None
