"""Decide which addresses an untrusted URL may reach: public ones, and the operator's own networks. Pure.

`ipaddress.is_global` isn't enough. In Python 3.11 it reports 64:ff9b::7f00:1, 2002:7f00:1::, fec0::1 and 224.0.0.1 as
public. The lists are those of the IANA special-purpose registries.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_V4_REFUSED = {
    IPv4Network(network): what
    for network, what in {
        "0.0.0.0/8": "this network",
        "10.0.0.0/8": "a private network",
        "100.64.0.0/10": "a carrier's network",
        "127.0.0.0/8": "this machine",
        "168.63.129.16/32": "a cloud's metadata",
        "169.254.0.0/16": "a link-local address",
        "172.16.0.0/12": "a private network",
        "192.0.0.0/24": "a reserved network",
        "192.0.2.0/24": "a documentation network",
        "192.88.99.0/24": "a relay",
        "192.168.0.0/16": "a private network",
        "198.18.0.0/15": "a benchmarking network",
        "198.51.100.0/24": "a documentation network",
        "203.0.113.0/24": "a documentation network",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "a reserved network",
    }.items()
}
# All public addresses are in 2000::/3. The others (loopback, local, multicast ...) need no list.
_V6_PUBLIC = IPv6Network("2000::/3")
_V6_REFUSED = {
    IPv6Network(network): what
    for network, what in {
        "2001::/23": "a reserved network",
        "2001:db8::/32": "a documentation network",
        "2002::/16": "a relay",
        "3fff::/20": "a documentation network",
    }.items()
}
# Addresses that contain an IPv4 address in their last 32 bits: mapped, and behind NAT64.
_V4_INSIDE = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


@dataclass(frozen=True)
class Networks:
    """The operator's own networks, which are allowed although they aren't public."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Networks:
        """Read networks and addresses, separated by commas. Raises ValueError if one is invalid."""
        return cls(tuple(ip_network(part.strip()) for part in text.split(",") if part.strip()))

    def __contains__(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self.networks)


def refusal(address: str, allowed: Networks) -> str | None:
    """Return why an address is refused, in a few words, or None if it is allowed."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "no address"
    if isinstance(parsed, IPv4Address):
        return _refusal_v4(parsed, allowed)
    if parsed in allowed:
        return None
    if any(parsed in network for network in _V4_INSIDE):
        return _refusal_v4(_last_32_bits(parsed), allowed)
    if parsed.scope_id is not None or parsed not in _V6_PUBLIC:
        return "not a public address"
    for network, what in _V6_REFUSED.items():
        if parsed in network:
            return what
    if (int(parsed) >> 32) & 0xFFFF_FFFF in _ISATAP:
        return _refusal_v4(_last_32_bits(parsed), allowed)
    return None


def _refusal_v4(address: IPv4Address, allowed: Networks) -> str | None:
    if address in allowed:
        return None
    return next((what for network, what in _V4_REFUSED.items() if address in network), None)


def _last_32_bits(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFF_FFFF)
