"""Addresses and networks of peers."""

from ipaddress import IPv6Address, ip_address, ip_network


class Networks:
    """IP addresses and networks, separated by commas; `*` matches all, an empty text no address.

    Raises:
        ValueError: an item is neither. The message says what is accepted, without the text.
    """

    def __init__(self, listed: str) -> None:
        names = [name.strip() for name in listed.split(",")] if listed else []
        self._all = "*" in names
        try:
            self._networks = [ip_network(name) for name in names if name != "*"]
        except ValueError:
            message = (
                "must be IP addresses, networks or '*', separated by commas; "
                "a network is like 192.0.2.0/24"
            )
            raise ValueError(message) from None

    def __contains__(self, address: str | None) -> bool:
        """Tell whether the peer with that address is in one of them."""
        if self._all:
            return True
        try:
            peer = ip_address(address or "")
        except ValueError:  # a Unix socket has no address
            return False
        if isinstance(peer, IPv6Address) and peer.ipv4_mapped:  # how "::" sees IPv4
            peer = peer.ipv4_mapped
        return any(peer in network for network in self._networks)
