"""Rules of ``policy`` as nftables has them, over netlink; decides nothing.

A table is put in place, or replaced, in one transaction: it is there whole or not at all. It
outlives a daemon that is killed, as do the sysctls that its comment tells of.
Numbers are the kernel's: include/uapi/linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from ipaddress import IPv4Network
from typing import Any

from pyroute2.netlink import (
    NETLINK_NETFILTER,
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    NLMSG_ERROR,
)
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_NFTABLES, nfgen_msg
from pyroute2.netlink.nfnetlink.nftsocket import (
    NFPROTO_IPV4,
    NFT_MSG_DELTABLE,
    NFT_MSG_NEWCHAIN,
    NFT_MSG_NEWRULE,
    NFT_MSG_NEWTABLE,
    Cmp,
    Meta,
    Regs,
    nft_chain_msg,
    nft_rule_msg,
    nft_table_msg,
)
from pyroute2.nftables.main import NFTables

from lambdad.network.netlink import connection
from lambdad.network.policy import (
    Address,
    Chain,
    Connection,
    Link,
    Match,
    Port,
    Protocol,
    Rule,
)

_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NFPROTO_UNSPEC = 0
_ANSWER_S_MAX = 10.0
_SO_SNDBUFFORCE = 32  # socket(7); Python has no name for it

# netfilter(8): hook numbers, and the priorities of nft(8): filter, srcnat.
_HOOKS = {
    "input": ("filter", 1, 0),
    "forward": ("filter", 2, 0),
    "output": ("filter", 3, 0),
    "postrouting": ("nat", 4, 100),
}
_ACCEPT, _DROP, _JUMP = 1, 0, -3
_TCP_RESET, _ICMP_UNREACHABLE, _ADMIN_PROHIBITED = 1, 0, 13
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
_ADDRESS_AT = {"source": 12, "destination": 16}
# Which fact of a connection, and which bits of it.
_CT_STATE, _CT_STATUS = 0, 2
_CONNECTIONS = {
    "established": (_CT_STATE, 2 | 4),  # established, related
    "new": (_CT_STATE, 8),
    "redirected": (_CT_STATUS, 0x20),  # IPS_DST_NAT
}

_REGISTER = Regs.NFT_REG_1  # every match needs one, and each the same

_Expression = dict[str, Any]


def install(table: str, chains: Iterable[Chain], comment: str, *, replace: bool) -> None:
    """Put the table in place.

    Args:
        table: its name.
        chains: those that others lead to come first.
        comment: shown by ``nft list ruleset``, and by ``comments``.
        replace: there is one of this name.

    Raises:
        OSError: the kernel refuses, and nothing has changed.
    """
    chains = tuple(chains)
    _transact(
        [
            *([_removal(table)] if replace else []),
            _message(
                NFT_MSG_NEWTABLE, nft_table_msg, NLM_F_CREATE,
                NFTA_TABLE_NAME=table, NFTA_TABLE_USERDATA={"value": comment},
            ),
            *(_chain(table, chain) for chain in chains),
            *(_rule(table, chain.name, rule) for chain in chains for rule in chain.rules),
        ]
    )  # fmt: skip


def remove(table: str) -> None:
    """Remove the table and all that is in it.

    Raises:
        OSError: there is none, or the kernel refuses.
    """
    _transact([_removal(table)])


def comments(prefix: str) -> dict[str, str]:
    """The comments of the IPv4 tables whose names begin so; those of others may hold anything.

    Raises:
        OSError: this kernel has no nf_tables, or we may not.
    """
    with connection(partial(NFTables, nfgen_family=NFPROTO_IPV4)) as nft:
        tables = {message.get_attr("NFTA_TABLE_NAME"): message for message in nft.get_tables()}
        return {
            name: message.get_attr("NFTA_TABLE_USERDATA") or ""
            for name, message in tables.items()
            if name.startswith(prefix)
        }


def forward_drops() -> list[str]:
    """Chains of others that drop what they do not know of: ``TABLE CHAIN``, in order.

    A packet must pass every chain of a hook, so ours cannot overrule them. What the old
    iptables holds is not seen here.
    """
    with connection(partial(NFTables, nfgen_family=_NFPROTO_UNSPEC)) as nft:
        found = set()
        for message in nft.get_chains():
            hook = message.get_attr("NFTA_CHAIN_HOOK")
            forward = hook and hook.get_attr("NFTA_HOOK_HOOKNUM") == _HOOKS["forward"][1]
            family = message["nfgen_family"] in {1, NFPROTO_IPV4}  # inet, ip
            if forward and family and message.get_attr("NFTA_CHAIN_POLICY") == _DROP:
                names = (message.get_attr(f"NFTA_CHAIN_{part}") for part in ("TABLE", "NAME"))
                found.add(" ".join(names))
        return sorted(found)


def expressions(rule: Rule) -> list[_Expression]:
    """The instructions of a rule, as pyroute2 encodes them."""
    return [
        *(expression for match in rule.matches for expression in _match(match)),
        _verdict(rule.verdict),
    ]


def _match(match: Match) -> Iterator[_Expression]:
    if isinstance(match, Link):
        name = match.name.encode()
        key = Meta.NFT_META_IIFNAME if match.way == "in" else Meta.NFT_META_OIFNAME
        yield _expression("meta", dreg=_REGISTER, key=key)
        yield _compare(name.ljust(16, b"\0") if match.whole else name, negated=match.negated)
    elif isinstance(match, Address):
        yield _load(_NETWORK_HEADER, _ADDRESS_AT[match.end], 4)
        yield from _within(match.network)
    elif isinstance(match, Protocol):
        yield _expression("meta", dreg=_REGISTER, key=Meta.NFT_META_L4PROTO)
        yield _compare(bytes([_PROTOCOLS[match.name]]))
    elif isinstance(match, Port):
        yield _load(_TRANSPORT_HEADER, 2, 2)
        yield _compare(struct.pack("!H", match.number))
    elif isinstance(match, Connection):
        key, bits = _CONNECTIONS[match.state]
        yield _expression("ct", dreg=_REGISTER, key=key)
        yield _mask(bits.to_bytes(4, sys.byteorder))
        yield _compare(bytes(4), negated=True)


def _within(network: IPv4Network) -> Iterator[_Expression]:
    yield _mask(network.netmask.packed)
    yield _compare(network.network_address.packed)


def _verdict(verdict: str) -> _Expression:
    if verdict == "reset":
        return _expression("reject", type=_TCP_RESET, icmp_code=0)
    if verdict == "prohibit":
        return _expression("reject", type=_ICMP_UNREACHABLE, icmp_code=_ADMIN_PROHIBITED)
    if verdict == "masquerade":
        return _expression("masq")
    code = {"accept": _ACCEPT, "drop": _DROP}.get(verdict, _JUMP)
    attributes: list[tuple[str, object]] = [("NFTA_VERDICT_CODE", code)]
    if code == _JUMP:
        attributes.append(("NFTA_VERDICT_CHAIN", verdict))
    data = {"attrs": [("NFTA_DATA_VERDICT", {"attrs": attributes})]}
    return _expression("immediate", dreg=Regs.NFT_REG_VERDICT, data=data)


def _expression(kind: str, **attributes: object) -> _Expression:
    named = [(f"NFTA_{kind}_{name}".upper(), value) for name, value in attributes.items()]
    return {"attrs": [("NFTA_EXPR_NAME", kind), ("NFTA_EXPR_DATA", {"attrs": named})]}


def _data(value: bytes) -> dict[str, Any]:
    return {"attrs": [("NFTA_DATA_VALUE", value)]}


def _compare(value: bytes, *, negated: bool = False) -> _Expression:
    operator = Cmp.NFT_CMP_NEQ if negated else Cmp.NFT_CMP_EQ
    return _expression("cmp", sreg=_REGISTER, op=operator, data=_data(value))


def _load(base: int, offset: int, length: int) -> _Expression:
    return _expression("payload", dreg=_REGISTER, base=base, offset=offset, len=length)


def _mask(mask: bytes) -> _Expression:
    return _expression(
        "bitwise", sreg=_REGISTER, dreg=_REGISTER, len=len(mask), mask=_data(mask),
        xor=_data(bytes(len(mask))),
    )  # fmt: skip


def _removal(table: str) -> Any:
    return _message(NFT_MSG_DELTABLE, nft_table_msg, 0, NFTA_TABLE_NAME=table)


def _chain(table: str, chain: Chain) -> Any:
    attributes: dict[str, object] = {"NFTA_CHAIN_TABLE": table, "NFTA_CHAIN_NAME": chain.name}
    if chain.hook:
        kind, number, priority = _HOOKS[chain.hook]
        place = [("NFTA_HOOK_HOOKNUM", number), ("NFTA_HOOK_PRIORITY", priority)]
        attributes |= {"NFTA_CHAIN_HOOK": {"attrs": place}, "NFTA_CHAIN_TYPE": kind}
    return _message(NFT_MSG_NEWCHAIN, nft_chain_msg, NLM_F_CREATE, **attributes)


def _rule(table: str, chain: str, rule: Rule) -> Any:
    return _message(
        NFT_MSG_NEWRULE, nft_rule_msg, NLM_F_CREATE | NLM_F_APPEND,
        NFTA_RULE_TABLE=table, NFTA_RULE_CHAIN=chain, NFTA_RULE_EXPRESSIONS=expressions(rule),
    )  # fmt: skip


def _message(kind: int, form: Any, flags: int, **attributes: object) -> Any:
    message = form()
    message["nfgen_family"] = NFPROTO_IPV4
    message["attrs"] = list(attributes.items())
    message["header"]["type"] = NFNL_SUBSYS_NFTABLES << 8 | kind
    message["header"]["flags"] = NLM_F_REQUEST | flags
    return message


def _boundary(kind: int) -> Any:
    message = nfgen_msg()
    message["res_id"] = NFNL_SUBSYS_NFTABLES
    message["header"]["type"] = kind
    message["header"]["flags"] = NLM_F_REQUEST
    return message


def _transact(messages: list[Any]) -> None:
    """All or nothing, see netlink(7).

    pyroute2 would wait for an answer to each message, in buffers that bound their number. The
    kernel answers what it refuses, and the last message when all is done.
    """
    messages[-1]["header"]["flags"] |= NLM_F_ACK
    sent = b""
    for message in [_boundary(_BATCH_BEGIN), *messages, _boundary(_BATCH_END)]:
        message.encode()
        sent += bytes(message.data)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
        kernel.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * len(sent))
        kernel.settimeout(_ANSWER_S_MAX)
        kernel.send(sent)
        _, kind, _, _, _, error = struct.unpack_from("=IHHIIi", kernel.recv(65_536))
    if kind != NLMSG_ERROR or error:
        raise OSError(-error, f"nf_tables: {os.strerror(-error)}")
