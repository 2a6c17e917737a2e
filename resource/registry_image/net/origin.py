"""Origins, what of a URL may be shown, and how far a host is trusted by its name alone."""

from __future__ import annotations

import re
import socket
from typing import TypeAlias
from urllib.parse import urljoin, urlsplit

from registry_image.errors import TransportError, quote

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: Spellings of IPv4 addresses that C libraries resolve (inet_aton): also 2130706433, 0x7f.1 and 0177.0.0.1.
_IPV4 = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]*|[0-9]+)){0,3}", re.ASCII)
#: Names of the machine itself in the /etc/hosts of Linux distributions, beside localhost.
_HOSTS_FILE = frozenset({"localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback"})
#: Scheme, host in lower case, port (RFC 6454). Credentials go to one origin only.
Origin: TypeAlias = tuple[str, str, int]


def show_url(url: str) -> str:
    """Scheme, host, port and path, printable. The query of a presigned URL is a secret; user information may be."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(invalid address)"
    host = parts.hostname or ""
    return quote(f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path}")[1:-1]


def show_host(url: str) -> str:
    """Host and port."""
    return show_url(url).partition("://")[2].partition("/")[0]


def origin_of(url: str) -> Origin:
    """Raises TransportError unless ``url`` is a usable http or https URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    # A space or a control character could inject headers into the request. A resolver maps a character outside ASCII
    # to another one (IDNA): "169。254。169。254" is an address.
    hostname = parts.hostname or ""
    proper = hostname and hostname.isascii() and not re.search(r"[\x00-\x20\x7f\\]", url)
    if parts.scheme not in _DEFAULT_PORTS or not proper:
        raise TransportError(f"{show_url(url)!r} is not an http or https address", retryable=False)
    return parts.scheme, hostname.lower(), port or _DEFAULT_PORTS[parts.scheme]


def resolve_location(base: str, location: str) -> str:
    """The absolute address of a Location or Link in the answer of ``base``.

    Raises TransportError for an invalid address, and for one that leaves TLS: anybody on the way could answer there."""
    try:
        url = urljoin(base, location)
    except ValueError:
        url = location
    if origin_of(base)[0] == "https" and origin_of(url)[0] != "https":
        raise TransportError(f"{show_url(base)} leads from https to {show_url(url)}: refused", retryable=False)
    return url


def is_loopback_name(hostname: str) -> bool:
    """Whether ``hostname``, without a port, always means this machine (RFC 6761, "localhost.")."""
    hostname = hostname.removesuffix(".")
    return hostname in ("127.0.0.1", "::1", "localhost") or hostname.endswith(".localhost")


def is_private_network(hostname: str) -> bool:
    """Whether ``hostname`` is a literal RFC 1918 address, where plain HTTP is common."""
    address = _literal(hostname)
    if address is None or len(address) != 4:
        return False
    first, second = address[0], address[1]
    return first == 10 or (first == 172 and 16 <= second <= 31) or (first == 192 and second == 168)


def is_internal(hostname: str) -> bool:
    """Whether ``hostname`` is a loopback, private, link-local or other non-global address, in any spelling that
    resolvers take."""
    address = _literal(hostname)
    if address is None:
        return is_loopback_name(hostname) or hostname.removesuffix(".") in _HOSTS_FILE
    from ipaddress import IPv6Address, ip_address  # takes 3 ms: only for literals

    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or parsed.sixtofour or parsed
    return not parsed.is_global


def internal_problem(url: str, home: str, *, insecure: bool) -> str:
    """Why a registry at ``home`` (host[:port]) must not send us to the host of ``url``, or "".

    A registry could make us ask servers in our own network, such as the link-local ones that hand out cloud
    credentials. Its own host is allowed, and with ``insecure`` every host.
    """
    hostname = origin_of(url)[1]
    other_host = hostname != origin_of(f"https://{home}")[1]
    return "it is an address inside this network" if other_host and is_internal(hostname) and not insecure else ""


def redirect_problem(url: str, home: str, *, insecure: bool) -> str:
    """As `internal_problem`; also refuses plain HTTP, except on this machine: the network could read passwords."""
    problem = internal_problem(url, home, insecure=insecure)
    scheme, hostname, _ = origin_of(url)
    on_this_machine = hostname == origin_of(f"https://{home}")[1] and is_loopback_name(hostname)
    return problem or ("" if scheme == "https" or insecure or on_this_machine else "it is not https")


def _literal(hostname: str) -> bytes | None:
    """``hostname`` as a packed address, or None."""
    try:
        if ":" in hostname:
            return socket.inet_pton(socket.AF_INET6, hostname.partition("%")[0])
        if _IPV4.fullmatch(hostname):
            return socket.inet_aton(hostname)
    except OSError:
        pass
    return None
