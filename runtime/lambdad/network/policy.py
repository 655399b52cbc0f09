"""Who may reach whom, as values: addresses, rules and their order. Reads and changes nothing.

Environments are ``lmd<tag><n>`` to the host: one point-to-point link each. Their packets are
told by the link they come in by, which nothing inside can choose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address, ip_network
from typing import Literal

from lambdad.model import limits
from lambdad_sandbox.errors import SandboxError

# The links of all daemons begin so. Not "ve-": systemd-networkd takes those for its own.
LINKS = "lmd"
TABLES = "lambdad-"
# Where an environment gets its address: shared address space (RFC 6598), or what is for
# benchmarks (RFC 2544) on hosts that use the former.
POOLS = (IPv4Network("100.64.0.0/10"), IPv4Network("198.18.0.0/15"))
# A route that covers more than this is a default route, whatever its mask.
ROUTE_PREFIX_MIN = 8

# Not the internet: https://www.iana.org/assignments/iana-ipv4-special-registry
DENIED = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
            "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)  # fmt: skip
# Where clouds keep the credentials of a host; to be named one by one.
METADATA = (IPv4Network("169.254.0.0/16"), IPv4Network("100.100.100.200/32"))
# No packet of an environment gets there, whatever is allowed.
UNREACHABLE = tuple(map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4")))

_DNS_PORT = 53
_COMMENT = "forwarding was off: "
_COMMENT_CHARACTERS_MAX = 250  # NFT_USERDATA_MAXLEN, without what frames the comment


class CannotConnect(SandboxError):
    """This host cannot give environments the network asked for; ``hint`` is the cure."""


# What a rule looks at. All matches of a rule must hold.


@dataclass(frozen=True, slots=True)
class Link:
    """The link a packet comes in by or goes out by; ``name`` is whole, or how it begins."""

    way: Literal["in", "out"]
    name: str
    whole: bool = False
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    end: Literal["source", "destination"]
    network: IPv4Network


@dataclass(frozen=True, slots=True)
class Protocol:
    name: Literal["tcp", "udp"]


@dataclass(frozen=True, slots=True)
class Port:
    """The destination port; stands behind a ``Protocol``."""

    number: int


@dataclass(frozen=True, slots=True)
class Connection:
    """What connection tracking knows: part of what was allowed, new, or redirected by others."""

    state: Literal["established", "new", "redirected"]


Match = Link | Address | Protocol | Port | Connection


@dataclass(frozen=True, slots=True)
class Rule:
    """``verdict`` is accept, drop, reset, prohibit, masquerade, or the name of a chain."""

    matches: tuple[Match, ...]
    verdict: str


@dataclass(frozen=True, slots=True)
class Chain:
    """Rules in their order; ``hook`` is empty when only other chains lead here."""

    name: str
    rules: tuple[Rule, ...]
    hook: Literal["", "input", "forward", "output", "postrouting"] = ""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the operator lets environments reach, too; ``None`` is every port."""

    network: IPv4Network
    port: int | None

    @property
    def may_be_the_host(self) -> bool:
        """A network never stands for the host itself: its ports are opened one by one."""
        return self.network.prefixlen == self.network.max_prefixlen and self.port is not None

    def matches(self) -> Iterator[tuple[Match, ...]]:
        there = Address("destination", self.network)
        if self.port is None:
            yield (there,)
        else:
            yield there, Protocol("tcp"), Port(self.port)
            yield there, Protocol("udp"), Port(self.port)


# What is ours.


def short(tag: str) -> str:
    """Six characters for this daemon, so that two of them on a host do not meet."""
    return hashlib.sha256(tag.encode()).hexdigest()[:6]


def links_of(tag: str) -> str:
    """How the names of this daemon's links begin; with a number, 13 of Linux's 15 characters."""
    return LINKS + short(tag)


def table_of(tag: str) -> str:
    """The name of this daemon's table of rules."""
    return TABLES + short(tag)


def mark_of(tag: str) -> int:
    """The group of this daemon's links and the metric of its route: unlikely numbers."""
    return 0x6C000000 + int(short(tag), 16)


def comment(names: Iterable[str]) -> str:
    """Of a table: the links that forward because of it. Those beyond its size are left out."""
    names = list(names)
    while len(_COMMENT + " ".join(names)) > _COMMENT_CHARACTERS_MAX:
        names.pop()
    return _COMMENT + " ".join(names)


def opened(said: str) -> tuple[str, ...]:
    """The links that a ``comment`` names."""
    return tuple(said.removeprefix(_COMMENT).split()) if said.startswith(_COMMENT) else ()


def choose_pool(tag: str, taken: Iterable[IPv4Network]) -> IPv4Network:
    """The addresses of this daemon's environments: none that the host knows a way to.

    Args:
        tag: decides where the search begins, so that a daemon usually has the same.
        taken: destinations of the host's routes, and its addresses.

    Raises:
        CannotConnect: all are taken.
    """
    known = [network for network in taken if network.prefixlen >= ROUTE_PREFIX_MIN]
    for block in POOLS:
        pools = list(block.subnets(new_prefix=limits.network_pool_prefix))
        first = int(short(tag), 16) % len(pools)
        for pool in pools[first:] + pools[:first]:
            if not any(pool.overlaps(network) for network in known):
                return pool
    raise CannotConnect(
        "cannot choose addresses for environments: this host has routes to all of "
        + " and ".join(map(str, POOLS)),
        "remove one of these routes, or use --network none",
    )


# What the operator says.


def split_entry(entry: str) -> tuple[str, int | None]:
    """``HOST:PORT``, ``HOST``, ``CIDR`` or ``CIDR:PORT`` as host and port.

    Raises:
        CannotConnect: the port is none, or it is IPv6.
    """
    host, colon, port = entry.partition(":")
    if ":" in port:
        raise CannotConnect(f"cannot allow {entry}: environments have no IPv6")
    if not host or (colon and not (port.isdecimal() and 0 < int(port) < 65_536)):
        raise CannotConnect(f"cannot allow {entry}: not HOST:PORT or CIDR")
    return host, int(port) if colon else None


def as_network(host: str) -> IPv4Network | None:
    """The network that an address or a CIDR is; of a name, ``None``."""
    try:
        network = ip_network(host, strict=False)
    except ValueError:
        return None
    return network if isinstance(network, IPv4Network) else None


def allow(entry: str, network: IPv4Network, port: int | None) -> Allowed:
    """What ``entry`` allows, which stands for ``network``.

    Raises:
        CannotConnect: it cannot be reached, or is more than anybody means.
    """
    if any(network.subnet_of(nobody) for nobody in UNREACHABLE):
        raise CannotConnect(
            f"cannot allow {entry}: no environment reaches {network}",
            "let the service listen on another address of this host, and allow that",
        )
    covered = [other for other in METADATA if network.overlaps(other)]
    if covered and network.prefixlen < network.max_prefixlen:
        raise CannotConnect(
            f"cannot allow {entry}: it covers {covered[0]}, where clouds keep the host's "
            "credentials",
            "name single addresses of these",
        )
    return Allowed(network, port)


def name_servers(resolv_conf: str) -> tuple[str, ...]:
    """The name servers of a resolv.conf(5) that others than this host may ask."""
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            address = ip_address(words[1])
        except ValueError:
            continue
        if address.version == 4 and not address.is_loopback:
            found.append(str(address))
    return tuple(found)


def resolv_conf(servers: Iterable[str]) -> str:
    """The resolv.conf(5) of environments."""
    return "".join(f"nameserver {server}\n" for server in servers)


def dns(server: str) -> Allowed:
    """A name server, as far as environments are concerned.

    Raises:
        CannotConnect: it is not an IPv4 address that they can reach.
    """
    network = as_network(server)
    if network is None or network.prefixlen < network.max_prefixlen:
        raise CannotConnect(f"cannot use the name server {server}: not an IPv4 address")
    return allow(server, network, _DNS_PORT)


# The rules.


def chains(
    links: str, pool: IPv4Network, opened: Iterable[str], allowed: Iterable[Allowed]
) -> tuple[Chain, ...]:
    """The whole table of rules.

    What is refused is refused at once (a reset, or ICMP): a function does better with an error
    than with a timeout. What comes from outside is dropped.

    Args:
        links: how the names of the daemon's own links begin.
        pool: the addresses of environments.
        opened: links of the host that forward only because this daemon has them do so.
        allowed: beside the internet; name servers too.
    """
    inside, to_inside = Link("in", links), Link("out", links)
    established = Connection("established")
    allowed = tuple(allowed)
    refusal = Rule((inside,), "refuse")
    return (
        # Chains first that others lead to.
        Chain("refuse", (Rule((Protocol("tcp"),), "reset"), Rule((), "prohibit"))),
        Chain(
            "forward",
            (
                *(rule for name in opened for rule in _closed_to_strangers(name)),
                # Nothing comes in, from other environments neither: only what was asked for.
                Rule((to_inside, established), "accept"),
                Rule((to_inside,), "drop"),
                Rule((inside, established), "accept"),
                *_accepted(inside, allowed),
                *(Rule((inside, Address("destination", other)), "refuse") for other in DENIED),
            ),
            hook="forward",
        ),
        Chain(
            "input",
            (
                Rule((inside, established), "accept"),
                *_accepted(inside, [item for item in allowed if item.may_be_the_host]),
                refusal,
            ),
            hook="input",
        ),
        Chain(
            "output",
            (Rule((to_inside, established), "accept"), Rule((to_inside,), "drop")),
            hook="output",
        ),
        Chain(
            "postrouting",
            (Rule((Address("source", pool), Link("out", links, negated=True)), "masquerade"),),
            hook="postrouting",
        ),
    )


def _accepted(inside: Link, allowed: Iterable[Allowed]) -> Iterator[Rule]:
    for item in allowed:
        for matches in item.matches():
            yield Rule((inside, *matches), "accept")


def _closed_to_strangers(name: str) -> Iterator[Rule]:
    """The host was no router before; for others than environments it is none now.

    What others redirect (a published port of a container) passes, should they come later.
    """
    link, elsewhere = Link("in", name, whole=True), Link("out", LINKS, negated=True)
    yield Rule((link, elsewhere, Connection("redirected")), "accept")
    yield Rule((link, elsewhere, Connection("new")), "drop")
