"""Refuses requests for hosts other than the service's own (RFC 9110 section 7.2)."""

import re
from collections.abc import Callable, Collection, Iterable

from flask import request
from werkzeug.exceptions import BadRequest

# The number of allowed hosts that are kept. Further hosts are checked at each request.
MOST_REMEMBERED = 1000

_NAME = re.compile(r"\.?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\]")
_HOST = re.compile(r"([^:\[\]]+|\[[0-9a-f:.]+\])(:\d*)?")  # RFC 3986 section 3.2


def allowed_hosts(names: Iterable[str], *, except_for: Collection[str] = ()) -> Callable[[], None]:
    """Return a function for `before_request` that answers 400 if the Host is not in `names`.

    A client may send any Host. An address made from it, such as a link in a mail or the key of a
    cache, would then be the client's choice. Behind a proxy the host is the one that the proxy
    forwards, if the application trusts the proxy (`ProxyFix`).

    Args:
        names: such as `api.example.com`, or `.example.com` for that and all names below it. The
            port does not matter.
        except_for: paths, such as those of health checks, whose Host is an IP address.

    Raises:
        ValueError: one of the names is invalid.
    """
    trusted = [host_name(each) for each in names]
    exact = {each.removeprefix(".") for each in trusted}
    ends = tuple(each for each in trusted if each.startswith("."))
    known: set[str] = set()

    def check() -> None:
        host = request.host
        if host in known or request.path in except_for:
            return
        match = _HOST.fullmatch(host.lower())
        if match is None or not (match[1] in exact or match[1].endswith(ends)):
            message = "This service does not serve the host of the request."
            raise BadRequest(message)
        if len(known) < MOST_REMEMBERED:
            known.add(host)

    return check


def host_name(text: str) -> str:
    """Return the name of a host as `allowed_hosts` takes it.

    Raises:
        ValueError: it is not a host name: it has a scheme, a port or a path, for example.
    """
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        message = "must be names of hosts without a port, such as api.example.com or .example.com"
        raise ValueError(message)
    return name
