"""Which addresses may be reached: URLs taken apart, hosts spelled plainly, networks checked."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from llmgate.errors import ConfigError, FunctionError
from llmgate.validation.words import shortened

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})*")
# What ends in a number is an address for browsers and for the C library, in whatever spelling.
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_LONGEST = 2000
_SAFE = "!$&'()*+,;=:@/?%~-._[]"
_HERE = ("localhost", "localdomain")

# What Python's own lists say differs between its releases.
_CLOSED_4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
_OPEN_6 = ipaddress.IPv6Network("2000::/3")
# Protocols (Teredo, ORCHID), documentation, and 6to4, which carries any IPv4 address in it.
_CLOSED_6 = tuple(
    ipaddress.IPv6Network(network)
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3ffe::/16", "3fff::/20")
)


class Target(msgspec.Struct, frozen=True):
    """Where a URL leads: `host` is lower case and ASCII, and `path` what is asked for there."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def site(self) -> str:
        """Scheme, host and port: the `Host` of a request, with the port where it is unusual."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and port as they stand in URLs and in the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class Allowed:
    """What may be reached though it is not public: hosts by name, addresses, networks."""

    def __init__(self, entries: Sequence[str]) -> None:
        """Raises ConfigError for an entry that is none of these."""
        self._hosts: set[str] = set()
        self._networks: list[Network] = []
        for entry in entries:
            text = entry.strip().lower().removeprefix("[").removesuffix("]")
            try:
                self._networks.append(ipaddress.ip_network(text, strict=False))
            except ValueError as error:
                if _NUMERIC.fullmatch(text) or not _HOST.fullmatch(text):
                    raise ConfigError(
                        f"agent.private_addresses: {entry!r} is no host, address or network.",
                        hint="Write it as nas.lan, 192.168.1.20 or 192.168.1.0/24.",
                    ) from error
                self._hosts.add(text)

    def host(self, host: str) -> bool:
        """Whether a host is allowed by its name, wherever that leads."""
        return host in self._hosts

    def address(self, address: Address) -> bool:
        """Whether an address is in a network that is allowed."""
        return any(address in network for network in self._networks)


def target_of(url: str) -> Target:
    """Take a URL apart. Raises FunctionError for all that could be read in more than one way."""
    _check(url)
    shown = shortened(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise FunctionError(f"{shown} is not a URL: {error}.") from error
    if parts.scheme not in _PORTS:
        raise FunctionError(f"{shown} does not begin with http:// or https://.")
    if "@" in parts.netloc:
        raise FunctionError(f"{shown} has a name before the host, which is not allowed.")
    if port == 0 or parts.netloc.endswith(":"):
        raise FunctionError(f"{shown} has no usable port.")
    path = parts.path if parts.path.startswith("/") else f"/{parts.path}"
    if parts.query:
        path = f"{path}?{parts.query}"
    host = _host_of(parts.netloc, shown)
    return Target(parts.scheme, host, port or _PORTS[parts.scheme], quote(path, safe=_SAFE))


def redirected(target: Target, location: str) -> Target:
    """Where a redirect leads, which may be written without its beginning. Raises FunctionError."""
    _check(location)
    try:
        url = urljoin(f"{target.site}{target.path}", location)
    except ValueError as error:
        raise FunctionError(f"The redirect to {shortened(location)} is no URL.") from error
    return target_of(url)


def literal_address(host: str) -> Address | None:
    """The address that a host is written as, None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_local_name(host: str) -> bool:
    """Whether a name means this machine by itself, whatever a server of names says."""
    return host.rpartition(".")[2] in _HERE or host in _HERE


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, and carries no other address in it."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _CLOSED_4) and address.is_global
    if address.scope_id is not None or address not in _OPEN_6:
        return False
    # ISATAP, which carries an IPv4 address behind any prefix.
    if (int(address) >> 32) & 0xFDFFFFFF == 0x5EFE:
        return False
    return not any(address in network for network in _CLOSED_6) and address.is_global


def _check(url: str) -> None:
    """Refuse what parsers drop or read differently, before any of them sees it."""
    if len(url) > _LONGEST:
        raise FunctionError(f"The URL has {len(url)} characters, and the limit is {_LONGEST}.")
    if any(char.isspace() or char == "\\" or not char.isprintable() for char in url):
        raise FunctionError(f"{shortened(url)} has a character in it that no URL has.")


def _host_of(netloc: str, shown: str) -> str:
    if netloc.startswith("["):
        inside, bracket, rest = netloc[1:].partition("]")
        try:
            if not bracket or (rest and not rest.startswith(":")) or "%" in inside:
                raise ValueError
            return ipaddress.IPv6Address(inside).compressed
        except ValueError as error:
            raise FunctionError(f"{shown} has no usable host.") from error
    host = netloc.partition(":")[0].removesuffix(".")
    if not host.isascii():
        host = _in_ascii(host, shown)
    host = host.lower()
    if not _HOST.fullmatch(host):
        raise FunctionError(f"{shown} has no usable host.")
    if _NUMERIC.fullmatch(host):
        try:
            return ipaddress.IPv4Address(host).compressed
        except ValueError as error:
            raise FunctionError(
                f"{shown} has an address that is not written as four decimal numbers."
            ) from error
    return host


def _in_ascii(host: str, shown: str) -> str:
    import idna

    try:
        return idna.encode(host, uts46=True, std3_rules=True).decode("ascii").removesuffix(".")
    except (idna.IDNAError, UnicodeError) as error:
        raise FunctionError(f"{shown} has no usable host.") from error
