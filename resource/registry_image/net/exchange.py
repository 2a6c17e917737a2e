"""The words of HTTP between the client and those who use it: a request, its answer, who we say we are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from registry_image.net.retry import RetryPolicy

#: A body that can be sent again: bytes, or a function that opens a fresh iterator over pieces (then `Request.length`).
Body: TypeAlias = "bytes | Callable[[], Iterable[bytes]]"


#: The longest number that is read from a header, in digits: more than a petabyte has, and int() bounds it too.
MAX_DIGITS = 18


class Headers:
    """The headers of an answer; names are case-insensitive, and one may stand on several lines."""

    __slots__ = ("_lines",)

    def __init__(self, lines: Iterable[tuple[str, str]]) -> None:
        self._lines: dict[str, list[str]] = {}
        for name, value in lines:
            self._lines.setdefault(name.lower(), []).append(value)

    def get(self, name: str, default: str = "") -> str:
        """The first line of that name."""
        return self._lines.get(name.lower(), [default])[0]

    def all(self, name: str) -> list[str]:
        """Every line of that name, in order, such as each WWW-Authenticate."""
        return self._lines.get(name.lower(), [])

    def count(self, name: str) -> int | None:
        """The whole number that the header begins with ("20;w=21600" is 20), or None if it begins with none."""
        text = self.get(name).partition(";")[0].strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None

    def lines(self) -> list[tuple[str, str]]:
        """Every line, its name in lower case."""
        return [(name, value) for name, values in self._lines.items() for value in values]


class Auth(Protocol):
    """Puts Authorization on requests to one registry. Shared by threads."""

    @property
    def home(self) -> str:
        """The server's address, such as ``https://ghcr.io``: to no other origin is Authorization ever sent."""

    @property
    def login(self) -> str:
        """Whom we say we are, for error texts; "" is nobody."""

    def authorization(self) -> str:
        """The header's value for the next request, renewed if about to expire; "" while none is known to be needed."""

    def challenged(self, refused: str, challenges: list[str]) -> bool:
        """After a 401 to a request that carried ``refused``: whether another try makes sense. May raise AuthError."""


def _anywhere(url: str) -> None:
    """The default of `Request.check_redirect`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, and what it is for.

    ``what`` begins every error text: "check ghcr.io/org/img:1.2". Statuses in ``accept`` are answers, besides 2xx;
    every other one is raised as a RegistryError. A body that is a function needs ``length``, its size in bytes.
    ``policy`` None is the client's. ``connect_timeout`` and ``stall_timeout``, in seconds, replace the client's limits.
    ``proxy`` False goes straight. ``check_redirect`` may refuse an address by raising.
    """

    method: str
    url: str = field(repr=False)
    what: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Body | None = field(default=None, repr=False)
    length: int | None = None
    auth: Auth | None = None
    accept: Collection[int] = ()
    policy: RetryPolicy | None = None
    connect_timeout: float | None = None
    stall_timeout: float | None = None
    proxy: bool = True
    check_redirect: Callable[[str], None] = _anywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole, small answer. ``url`` is where it came from after redirects: the base of a relative Location or Link."""

    status: int
    headers: Headers
    body: bytes = field(repr=False)
    url: str = field(repr=False)
