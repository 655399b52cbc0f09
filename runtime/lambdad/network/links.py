"""Links, addresses and routes over rtnetlink(7), in the namespace of the calling thread.

What the kernel refuses is an OSError.
"""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from lambdad.network.namespaces import no_ipv6, set_sysctl
from lambdad.network.netlink import connection

# What an environment calls its end.
INSIDE = "eth0"
# Of the host's end, see Documentation/networking/ip-sysctl.rst: a sender is believed who is
# reached by the same link, and says nothing about the way of its packets.
_KNOBS = {"forwarding": "1", "rp_filter": "1", "accept_source_route": "0"}
_UNREACHABLE = 7  # RTN_UNREACHABLE, rtnetlink(7)


def add_pair(name: str, group: int, host: int, address: IPv4Address, gateway: IPv4Address) -> None:
    """Inside an environment: a link to the host, an address, and the way out.

    Args:
        name: of the host's end; the end inside is ``eth0``.
        group: of the host's end, by which all are removed.
        host: the host's network namespace.
        address: of the environment; no other is on its link but ``gateway``.
        gateway: the host, as environments see it.
    """
    no_ipv6("default")
    with connection(IPRoute) as kernel:
        peer = {"ifname": name, "group": group, "net_ns_fd": host}
        kernel.link("add", ifname=INSIDE, kind="veth", peer=peer)
        index = socket.if_nametoindex(INSIDE)
        kernel.addr("add", index=index, local=str(address), address=str(gateway), prefixlen=32)
        kernel.link("set", index=index, state="up")
        kernel.route("add", dst="default", gateway=str(gateway), oif=index)


def bring_up(name: str, address: IPv4Address, gateway: IPv4Address) -> None:
    """The host's end of a pair; only the environment's own address is taken for its sender."""
    no_ipv6(name)
    for knob, value in _KNOBS.items():
        set_sysctl(f"ipv4/conf/{name}/{knob}", value)
    with connection(IPRoute) as kernel:
        index = socket.if_nametoindex(name)
        kernel.addr("add", index=index, local=str(gateway), address=str(address), prefixlen=32)
        kernel.link("set", index=index, state="up")


def remove_all(prefix: str, group: int) -> None:
    """Remove the links whose names begin so, and which are in this group.

    All at once, as long as nobody else's is in the group: the kernel takes as long for one.
    """
    with connection(IPRoute) as kernel:
        links = [link for link in kernel.get_links() if link.get_attr("IFLA_GROUP") == group]
        ours = [link for link in links if link.get_attr("IFLA_IFNAME").startswith(prefix)]
        if ours and len(ours) == len(links):
            _remove(kernel, group=group)
        else:
            for link in ours:
                _remove(kernel, index=link["index"])


def _remove(kernel: Any, **which: int) -> None:
    """Remove links; those whose namespace was just closed may be gone by now."""
    try:
        kernel.link("del", **which)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise


def destinations() -> list[IPv4Network]:
    """Where the host has routes to, its own addresses among them."""
    with connection(IPRoute) as kernel:
        return [_destination(route) for route in kernel.get_routes(family=socket.AF_INET)]


def ways_out() -> list[str]:
    """The links that routes of the host leave by, in order; ``lo`` is none."""
    with connection(IPRoute) as kernel:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in kernel.get_links()}
        used = set()
        for route in kernel.get_routes(family=socket.AF_INET):
            hops = route.get_attr("RTA_MULTIPATH") or ()
            used |= {route.get_attr("RTA_OIF"), *(hop["oif"] for hop in hops)}
        return sorted({names[index] for index in used if index in names} - {"lo"})


def claim(pool: IPv4Network, metric: int) -> None:
    """Show others that these addresses are taken: a route to nowhere, behind all others."""
    with connection(IPRoute) as kernel:
        kernel.route("add", dst=str(pool), type="unreachable", priority=metric)


def disclaim(metric: int) -> None:
    """Remove the claims of this metric."""
    with connection(IPRoute) as kernel:
        for route in list(kernel.get_routes(family=socket.AF_INET)):
            if route["type"] == _UNREACHABLE and route.get_attr("RTA_PRIORITY") == metric:
                destination = str(_destination(route))
                kernel.route("del", dst=destination, type="unreachable", priority=metric)


def _destination(route: Any) -> IPv4Network:
    return IPv4Network((route.get_attr("RTA_DST") or 0, route["dst_len"]))
