"""Whether a request comes from a page in a browser that has no business here. Pure.

A page of any site can make its visitor's browser send requests to loopback. It cannot keep the
browser from saying so: ``Origin`` goes with every request but GET and HEAD, ``Sec-Fetch-Site``
with every request to loopback (Fetch standard; both are out of a page's reach). A site that
gives its own name a loopback address is known by its ``Host``. That is enough: no content type
is asked for, so ``curl -d '{}'`` works. Nothing is ever granted to another origin (CORS).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from lambdad.model.errors import ApiError

# Of a page of ours, of none (an address typed in); what is not said was no browser's.
_TRUSTED_SITES = frozenset({"same-origin", "none", ""})


def refuse_browsers(headers: Mapping[str, str]) -> None:
    """Refuse what a page of another origin sends.

    Args:
        headers: found by name in any case.

    Raises:
        ApiError: as the service denies access.
    """
    origin = headers.get("Origin")
    foreign = origin is not None and urlsplit(origin).netloc != headers.get("Host", "")
    if foreign or headers.get("Sec-Fetch-Site", "") not in _TRUSTED_SITES:
        raise ApiError("AccessDeniedException", "Requests of other origins are not allowed")


def refuse_strange_host(host: str, own: str) -> None:
    """Refuse a name that is not this host's alone: any site can give its names our address.

    Args:
        host: the ``Host`` header.
        own: the address that the daemon was told to listen on.

    Raises:
        ApiError: as the service denies access.
    """
    if not _is_local(host) and _name(host) != own.lower():
        raise ApiError("AccessDeniedException", "Requests to this host are not allowed")


def is_loopback(name: str) -> bool:
    """Whether a name or an address, without brackets, is this host's own and nobody else's."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


@lru_cache(64)
def _is_local(host: str) -> bool:
    """Whether a ``Host`` is loopback's; so is every name below ``localhost`` (RFC 6761)."""
    name = _name(host)
    return is_loopback(name) or name.endswith(".localhost")


def _name(host: str) -> str:
    """The name or address in a ``Host`` header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() and ":" not in name else host).lower()
