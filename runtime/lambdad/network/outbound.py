"""The way out of environments, as deeds: rules, links, and the knobs of the host that it takes.

Everything here blocks, and is for one thread at a time. What is changed on the host:
a table of rules, a route that claims the pool, a link for each environment, and ``forwarding``
of the links that the host's routes leave by, where it was off. ``close`` takes all of it back;
``open`` takes back what a killed daemon of the same tag has left.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import structlog

from lambdad.network import firewall, links, namespaces, policy
from lambdad.network.policy import Allowed, CannotConnect

_log = structlog.get_logger()

# The second is what systemd-resolved asks itself, where the first names only its stub.
RESOLV_CONFS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
_NO_HELP = "use --network none"


class Outbound:
    """The way out of the environments of one daemon.

    Args:
        tag: of this daemon alone, such as the name of its cgroups.
        allow: ``HOST:PORT`` or ``CIDR[:PORT]`` that they reach beside the internet.
        dns: their name servers; none for the host's.
    """

    def __init__(self, tag: str, allow: tuple[str, ...], dns: tuple[str, ...]) -> None:
        self._tag, self._allow, self._dns = tag, allow, dns
        self._links, self._table = policy.links_of(tag), policy.table_of(tag)
        self._mark = policy.mark_of(tag)
        self._undo = contextlib.ExitStack()
        self._free: deque[IPv4Address] = deque()

    def open(self) -> str:
        """Make the way out; returns the resolv.conf(5) of environments.

        Raises:
            CannotConnect: the host cannot, or an entry makes no sense; nothing has changed.
        """
        if os.geteuid() != 0:
            raise CannotConnect("cannot give environments a way out: not root", _NO_HELP)
        allowed = [item for entry in self._allow for item in _allowed(entry)]
        servers = self._dns or _host_name_servers()
        allowed += [policy.dns(server) for server in servers]
        if not servers:
            _log.warning("cannot find a name server for environments: give one with --dns")
        try:
            with contextlib.ExitStack() as undo:
                self._open(undo, allowed)
                self._undo = undo.pop_all()
        except OSError as error:
            raise CannotConnect(
                f"cannot give environments a way out: {error}",
                f"nf_tables, veth and a writable /proc/sys are needed; or {_NO_HELP}",
            ) from error
        return policy.resolv_conf(servers)

    def connect(self, runtime_api_host: str) -> tuple[int, IPv4Address]:
        """A network namespace that has a way out, and its address.

        Raises:
            OSError: the kernel refuses.
            CannotConnect: all addresses are in use.
        """
        if not self._free:
            raise CannotConnect("cannot connect an environment: all addresses are in use")
        address = self._free.popleft()
        try:
            return self._pair(runtime_api_host, address), address
        except BaseException:
            self._free.append(address)
            raise

    def disconnected(self, address: IPv4Address) -> None:
        """The namespace was closed, and its link goes with it; its address comes up again last."""
        self._free.append(address)

    def close(self) -> None:
        """Take everything back.

        Raises:
            OSError: the kernel refuses; the rest is taken back.
        """
        self._undo.close()

    def _open(self, undo: contextlib.ExitStack, allowed: list[Allowed]) -> None:
        known = firewall.comments(policy.TABLES)
        links.remove_all(self._links, self._mark)
        links.disclaim(self._mark)
        pool = policy.choose_pool(self._tag, links.destinations())
        ways = [name for name in links.ways_out() if not name.startswith(policy.LINKS)]
        opened = [name for name in ways if not _forwards(name)]
        # What another daemon, or one that was killed, has switched on is not the host's will.
        recorded = _opened(known)
        opened += [name for name in ways if name in recorded and name not in opened]
        chains = policy.chains(self._links, pool, opened, allowed)
        firewall.install(self._table, chains, policy.comment(opened), replace=self._table in known)
        undo.callback(self._close_host, opened)
        links.claim(pool, self._mark)
        undo.callback(links.disclaim, self._mark)
        undo.callback(links.remove_all, self._links, self._mark)
        for name in opened:
            namespaces.set_sysctl(_forwarding(name), "1")
        self._host = os.open(namespaces.OWN, os.O_RDONLY)
        undo.callback(os.close, self._host)
        self._gateway, *others = pool.hosts()
        self._free = deque(others)
        self._say(pool, opened)

    def _say(self, pool: IPv4Network, opened: list[str]) -> None:
        """Tell what has changed on the host, and what may stand in the way."""
        _log.info(
            "environments have a way out",
            addresses=str(pool),
            rules=self._table,
            forwarding_switched_on=opened,
        )
        for chain in firewall.forward_drops():
            _log.warning(
                "another firewall may stop environments: let it accept what comes in by, and "
                "what is established and goes out by, their links",
                chain=chain,
                links=self._links + "*",
            )

    def _pair(self, runtime_api_host: str, address: IPv4Address) -> int:
        name = f"{self._links}{int(address) - int(self._gateway)}"

        def furnish() -> None:
            links.add_pair(name, self._mark, self._host, address, self._gateway)

        namespace = namespaces.make(runtime_api_host, furnish)
        try:
            links.bring_up(name, address, self._gateway)
        except BaseException:
            os.close(namespace)
            raise
        return namespace

    def _close_host(self, opened: list[str]) -> None:
        """The host forwards no longer, unless somebody else needs it meanwhile."""
        known = firewall.comments(policy.TABLES)
        known.pop(self._table, None)
        if not _forwards("all"):
            for name in set(opened) - _opened(known):
                with contextlib.suppress(FileNotFoundError):
                    namespaces.set_sysctl(_forwarding(name), "0")
        firewall.remove(self._table)


def _allowed(entry: str) -> list[Allowed]:
    """What an entry of the operator's means now; a name is resolved once."""
    host, port = policy.split_entry(entry)
    network = policy.as_network(host)
    networks = [network] if network else _resolved(entry, host)
    return [policy.allow(entry, network, port) for network in networks]


def _resolved(entry: str, host: str) -> list[IPv4Network]:
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise CannotConnect(f"cannot allow {entry}: {error.strerror}") from error
    return [IPv4Network(address[0]) for *_, address in found]


def _host_name_servers() -> tuple[str, ...]:
    for path in RESOLV_CONFS:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if servers := policy.name_servers(path.read_text(encoding="utf-8")):
                return servers
    return ()


def _opened(tables: Mapping[str, str]) -> set[str]:
    """The links that some daemon has had forward, by the comments of its table."""
    return {name for comment in tables.values() for name in policy.opened(comment)}


def _forwarding(name: str) -> str:
    return f"ipv4/conf/{name}/forwarding"


def _forwards(name: str) -> bool:
    """Whether the host forwards what comes in by this link; of ``all``, whether it is a router."""
    return Path("/proc/sys/net", _forwarding(name)).read_text().strip() == "1"
