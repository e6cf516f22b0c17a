"""Which peers are in a list of addresses and networks."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from flask_asgi import Networks
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("listed", "address", "is_listed"),
    [
        ("", "127.0.0.1", False),
        ("*", "203.0.113.9", True),
        ("*", None, True),
        ("10.1.2.3, *", "203.0.113.9", True),
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("192.0.2.1 ,10.0.0.0/8", "10.9.9.9", True),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("fd00::/8", "fd12::1", True),
        ("fd00::/8", "10.0.0.1", False),
        ("10.0.0.0/8", None, False),
        ("10.0.0.0/8", "", False),
        ("10.0.0.0/8", "unix:", False),
    ],
)
def test_a_peer_is_in_its_network(listed: str, address: str | None, *, is_listed: bool) -> None:
    assert is_listed is (address in Networks(listed))


@pytest.mark.parametrize(
    "listed",
    [
        *("s3cret.example", "10.0.0", "10.0.0.0/33", "10.0.0.1 10.0.0.2", "10.0.0.1/8", "proxy"),
        *("::1,,::2", ",", " , ", " ", "*,", "**", "10.0.0.0/8,s3cret"),
    ],
)
def test_an_invalid_entry_is_refused_without_being_shown(listed: str) -> None:
    with pytest.raises(ValueError, match=r"^must be IP addresses, networks or '\*', sep") as error:
        Networks(listed)

    assert "s3cret" not in str(error.value)
    assert error.value.__cause__ is None


ADDRESSES = st.lists(st.ip_addresses(), min_size=1)


@given(ADDRESSES, st.ip_addresses())
def test_only_listed_addresses_are_in_the_networks(
    listed: list[IPv4Address | IPv6Address], other: IPv4Address | IPv6Address
) -> None:
    networks = Networks(", ".join(map(str, listed)))
    mapped = [ip_address(f"::ffff:{each}") for each in listed if each.version == 4]

    plain = {each for each in listed if not getattr(each, "ipv4_mapped", None)}
    assert all(str(each) in networks for each in [*plain, *mapped])
    same = {other, getattr(other, "ipv4_mapped", None)}
    assert (str(other) in networks) == (not same.isdisjoint(plain))
