"""Origins, and which hosts get more or less trust for what their name alone says."""

from __future__ import annotations

import re
import socket
from typing import TypeAlias
from urllib.parse import urljoin, urlsplit

from registry_image.errors import TransportError
from registry_image.net.redact import show_url

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: What inet_aton takes for an IPv4 address: also 2130706433, 0x7f.1 and 0177.0.0.1, as C libraries resolve them.
_IPV4 = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]*|[0-9]+)){0,3}", re.ASCII)

#: What Linux distributions call the machine itself in /etc/hosts, beside localhost.
_HOSTS_FILE = frozenset({"localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback"})

#: Scheme, host in lower case, port (RFC 6454): what credentials are bound to.
Origin: TypeAlias = tuple[str, str, int]


def origin_of(url: str) -> Origin:
    """Raises TransportError unless ``url`` is a usable http or https URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    # The host's characters end up in a request; a space or a control character there is an attack or a mistake.
    # One outside ASCII would be mapped to another by whoever looks it up (IDNA: "169。254。169。254").
    hostname = parts.hostname or ""
    proper = hostname and hostname.isascii() and not re.search(r"[\x00-\x20\x7f\\]", url)
    if parts.scheme not in _DEFAULT_PORTS or not proper:
        raise TransportError(f"{show_url(url)!r} is not an http or https address", retryable=False)
    return parts.scheme, hostname.lower(), port or _DEFAULT_PORTS[parts.scheme]


def resolve_location(base: str, location: str) -> str:
    """The address that a Location or Link of ``base``'s answer means. Raises TransportError for one that leaves TLS
    (from there on anybody on the way could answer), or that is none."""
    try:
        url = urljoin(base, location)
    except ValueError:
        url = location
    if origin_of(base)[0] == "https" and origin_of(url)[0] != "https":
        raise TransportError(f"{show_url(base)} leads from https to {show_url(url)}: refused", retryable=False)
    return url


def is_loopback_name(hostname: str) -> bool:
    """Whether ``hostname``, without a port, is one that never leaves the machine (RFC 6761, "localhost.")."""
    hostname = hostname.removesuffix(".")  # the root of all names, which may be written or left out
    return hostname in ("127.0.0.1", "::1", "localhost") or hostname.endswith(".localhost")


def is_private_network(hostname: str) -> bool:
    """Whether it is the literal of an RFC 1918 address, where plain HTTP was always common."""
    address = _literal(hostname)
    if address is None or len(address) != 4:
        return False
    first, second = address[0], address[1]
    return first == 10 or (first == 172 and 16 <= second <= 31) or (first == 192 and second == 168)


def is_inward(hostname: str) -> bool:
    """Whether it names something that the machine reaches and the sender of the name should not: a loopback,
    private, link-local or otherwise not global address, in any spelling that resolvers take."""
    address = _literal(hostname)
    if address is None:
        return is_loopback_name(hostname) or hostname.removesuffix(".") in _HOSTS_FILE
    from ipaddress import IPv6Address, ip_address  # 3 ms that only a literal costs

    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or parsed.sixtofour or parsed
    return not parsed.is_global


def inward_problem(url: str, home: str, *, insecure: bool) -> str:
    """Why a registry at ``home`` (host[:port]) must not send us to the host of ``url``, or "".

    An address inside our network is not for a stranger to name: link-local ones hand out cloud credentials. It is
    fine for ``insecure``, and where the registry itself is.
    """
    hostname = origin_of(url)[1]
    abroad = hostname != origin_of(f"https://{home}")[1]
    return "it is an address inside this network" if abroad and is_inward(hostname) and not insecure else ""


def redirect_problem(url: str, home: str, *, insecure: bool) -> str:
    """The same, and plain HTTP too, as it shows passwords to the network, unless it stays on this machine."""
    problem = inward_problem(url, home, insecure=insecure)
    scheme, hostname, _ = origin_of(url)
    on_this_machine = hostname == origin_of(f"https://{home}")[1] and is_loopback_name(hostname)
    return problem or ("" if scheme == "https" or insecure or on_this_machine else "it is not https")


def _literal(hostname: str) -> bytes | None:
    """The packed address, if ``hostname`` is one."""
    try:
        if ":" in hostname:
            return socket.inet_pton(socket.AF_INET6, hostname.partition("%")[0])
        if _IPV4.fullmatch(hostname):
            return socket.inet_aton(hostname)
    except OSError:
        pass
    return None
