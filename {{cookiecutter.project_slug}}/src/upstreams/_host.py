"""A check of the name of a host."""

import ipaddress
import re

# RFC 1123 section 2.1, plus underscores, which occur in names of containers.
_HOST_NAME = re.compile(r"(?!-|.{254})[\w-]{1,63}(\.[\w-]{1,63})*\.?", re.ASCII)


def is_host(text: str) -> bool:
    """Return whether `text` is an IP address or a possible host name."""
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return _HOST_NAME.fullmatch(text) is not None
    return True
