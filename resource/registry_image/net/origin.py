"""Origins, what of a URL may be shown, and how far a host is trusted by its name alone."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urljoin, urlsplit

from registry_image.errors import TransportError, bare

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: Spellings of IPv4 addresses that C libraries resolve (inet_aton): also 2130706433, 0x7f.1 and 0177.0.0.1.
_IPV4 = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]*|[0-9]+)){0,3}", re.ASCII)
#: The first 12 bytes of IPv6 addresses whose last four are an IPv4 address: IPv4-compatible and IPv4-mapped
#: (RFC 4291, 2.5.5), IPv4-translated (RFC 2765), NAT64 (RFC 6052).
_EMBEDDING = frozenset(
    socket.inet_pton(socket.AF_INET6, prefix)[:12] for prefix in ("::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::")
)
#: The prefix of NAT64 inside a network (RFC 8215).
_LOCAL_NAT64 = bytes.fromhex("0064ff9b0001")
#: 168.63.129.16: hands out the configuration of Azure's virtual machines, and is no private address.
_AZURE_WIRE_SERVER = bytes((168, 63, 129, 16))
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
    return bare(f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path}")


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
    # to another one (IDNA): "169。254。169。254" is an address. So is "%3169.254.169.254": urllib3 undoes the escape.
    hostname = parts.hostname or ""
    plain = hostname.isascii() and ("%" not in hostname or ":" in hostname)  # the zone of an IPv6 address
    proper = hostname and plain and not re.search(r"[\x00-\x20\x7f\\]", url)
    if parts.scheme not in _DEFAULT_PORTS or not proper:
        raise TransportError(f"{show_url(url)!r} is not an http or https address", retryable=False)
    return parts.scheme, hostname.lower(), port or _DEFAULT_PORTS[parts.scheme]


def is_address(url: str) -> bool:
    """Whether `origin_of` takes ``url``."""
    try:
        origin_of(url)
    except TransportError:
        return False
    return True


def resolve_location(base: str, location: str, what: str = "follow an address") -> str:
    """The absolute address of a Location or Link in the answer of ``base``, without a fragment, which is never sent.

    Raises TransportError for an invalid address, and for one that leaves TLS: anybody on the way could answer there."""
    try:
        url = urljoin(base, _percent_encoded(location.partition("#")[0]))
    except ValueError:
        url = location
    url = over_tls(base, url)
    if origin_of(base)[0] == "https" and origin_of(url)[0] != "https":
        raise TransportError(
            f"{what}: {show_url(base)} leads from https to {show_url(url)}: refused: "
            "a proxy in front of the registry that ends TLS must send X-Forwarded-Proto",
            retryable=False,
        )
    return url


def over_tls(base: str, url: str) -> str:
    """``url``, by https and with the port of ``base`` if it is plain HTTP on the same host.

    A registry behind a proxy that ends TLS does not know that it is asked by https (distribution#996)."""
    scheme, hostname, port = origin_of(base)
    if scheme != "https" or not url.lower().startswith("http:"):
        return url
    _, other, other_port = origin_of(url)
    if other != hostname or other_port not in (port, _DEFAULT_PORTS["http"]):
        return url
    netloc = urlsplit(base).netloc.rpartition("@")[2]
    return urlsplit(url)._replace(scheme="https", netloc=netloc).geturl()


def _percent_encoded(location: str) -> str:
    """Blanks and characters outside ASCII after the host, percent-encoded as the bytes that they were: http.client
    reads header lines as Latin-1."""
    match = re.match(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?", location)
    start = match.end() if match else 0
    return location[:start] + re.sub(r"[ \t\x80-\xff]", lambda found: f"%{ord(found[0]):02X}", location[start:])


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
    address = _address(hostname)
    if address is None:
        return is_loopback_name(hostname) or hostname.removesuffix(".") in _HOSTS_FILE
    return not address.is_global or address.packed == _AZURE_WIRE_SERVER or address.packed.startswith(_LOCAL_NAT64)


def is_inward(hostname: str) -> bool:
    """Whether ``hostname`` is a literal address inside a network, other than this machine's own."""
    address = _address(hostname)
    return address is not None and is_internal(hostname) and not (address.is_loopback or address.is_unspecified)


def internal_problem(url: str, home: str, *, insecure: bool) -> str:
    """Why a registry at ``home`` (host[:port]) must not send us to the host of ``url``, or "".

    A registry could make us ask servers in our own network, such as the link-local ones that hand out cloud
    credentials. Its own host is allowed; every host is with ``insecure``, and if the registry itself has an address
    inside a network. (This machine's own addresses do not count: they say nothing about the network.)
    """
    hostname, own = origin_of(url)[1], origin_of(f"https://{home}")[1]
    allowed = insecure or hostname == own or is_inward(own) or not is_internal(hostname)
    return "" if allowed else "it is an address inside this network"


def redirect_problem(url: str, home: str, *, insecure: bool) -> str:
    """As `internal_problem`; also refuses plain HTTP, except on this machine: the network could read passwords."""
    problem = internal_problem(url, home, insecure=insecure)
    scheme, hostname, _ = origin_of(url)
    on_this_machine = hostname == origin_of(f"https://{home}")[1] and is_loopback_name(hostname)
    return problem or ("" if scheme == "https" or insecure or on_this_machine else "it is not https")


def _address(hostname: str) -> IPv4Address | IPv6Address | None:
    """The literal address in ``hostname``: the IPv4 address inside an IPv6 address that has one."""
    packed = _literal(hostname)
    if packed is None:
        return None
    from ipaddress import IPv6Address, ip_address  # takes 3 ms: only for literals

    if packed[:12] in _EMBEDDING and any(packed[12:15]):  # else it is :: or ::1
        packed = packed[12:]
    address = ip_address(packed)
    return address.sixtofour or address if isinstance(address, IPv6Address) else address


def _literal(hostname: str) -> bytes | None:
    """``hostname`` as a packed address, or None. Resolvers take a dot at its end."""
    hostname = hostname.removesuffix(".")
    try:
        if ":" in hostname:
            return socket.inet_pton(socket.AF_INET6, hostname.partition("%")[0])
        if _IPV4.fullmatch(hostname):
            return socket.inet_aton(hostname)
    except OSError:
        pass
    return None
