from ipaddress import IPv4Address, IPv4Network

import pytest

from lambdad.model import limits
from lambdad.network import policy
from lambdad.network.policy import Address, Allowed, CannotConnect, Connection, Link, Port, Protocol

LINKS, POOL = "lmdabcdef", IPv4Network("100.64.32.0/19")
STRANGER, INTERNET = "eth0", "203.0.113.7"


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("db.example:5432", "db.example", 5432),
        ("db.example", "db.example", None),
        ("10.1.2.3:80", "10.1.2.3", 80),
        ("10.0.0.0/8", "10.0.0.0/8", None),
        ("10.0.0.0/8:443", "10.0.0.0/8", 443),
        ("a:65535", "a", 65_535),
    ],
)
def test_an_entry_is_a_host_or_network_and_perhaps_a_port(entry, host, port):
    assert policy.split_entry(entry) == (host, port)


@pytest.mark.parametrize(
    "entry", ["", ":80", "a:", "a:0", "a:65536", "a:-1", "a:http", "a:²", "a:+1", "::1", "[::1]:80"]
)
def test_another_entry_is_refused(entry):
    with pytest.raises(CannotConnect, match=r"^cannot allow"):
        policy.split_entry(entry)


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("10.1.2.3", "10.1.2.3/32"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("db.example", None),
        ("fd00::/8", None),
        ("10.1.2", None),
    ],
)
def test_addresses_and_networks_are_told_from_names(host, network):
    assert policy.as_network(host) == (network and IPv4Network(network))


@pytest.mark.parametrize(
    "network",
    ["127.0.0.1", "127.0.0.0/8", "127.9.0.0/16", "0.0.0.0", "224.0.0.1", "255.255.255.255"],
)
def test_what_no_packet_reaches_cannot_be_allowed(network):
    with pytest.raises(CannotConnect, match="another address of this host"):
        policy.allow("entry", IPv4Network(network), 80)


@pytest.mark.parametrize(
    "network", ["0.0.0.0/0", "169.254.0.0/16", "169.254.169.0/24", "128.0.0.0/1", "100.64.0.0/10"]
)
@pytest.mark.parametrize("port", [None, 80])
def test_no_network_covers_the_metadata_by_the_way(network, port):
    with pytest.raises(CannotConnect, match="credentials"):
        policy.allow("entry", IPv4Network(network), port)


@pytest.mark.parametrize("network", ["169.254.169.254", "100.100.100.200", "10.0.0.0/8"])
def test_what_is_named_is_allowed(network):
    assert policy.allow("entry", IPv4Network(network), 80) == Allowed(IPv4Network(network), 80)


@pytest.mark.parametrize(
    ("network", "port", "host"),
    [("10.0.0.1", 80, True), ("10.0.0.1", None, False), ("10.0.0.0/31", 80, False)],
)
def test_only_an_address_with_a_port_stands_for_the_host(network, port, host):
    assert Allowed(IPv4Network(network), port).may_be_the_host is host


def test_name_servers_are_those_that_others_may_ask():
    text = (
        "# nameserver 9.9.9.9\nsearch example\nnameserver 127.0.0.53\nnameserver\n"
        "nameserver 192.168.1.1 # home\n nameserver\t8.8.8.8\nnameserver fe80::1%eth0\n"
        "nameserver 2001:db8::1\nnameserver nonsense\noptions edns0\n"
    )
    assert policy.name_servers(text) == ("192.168.1.1", "8.8.8.8")
    assert policy.name_servers("") == ()
    assert policy.resolv_conf(["192.168.1.1", "8.8.8.8"]) == (
        "nameserver 192.168.1.1\nnameserver 8.8.8.8\n"
    )


def test_a_name_server_is_open_on_its_port_only():
    assert policy.dns("10.0.0.53") == Allowed(IPv4Network("10.0.0.53"), 53)


@pytest.mark.parametrize("server", ["::1", "dns.example", "10.0.0.0/8", "127.0.0.53"])
def test_what_cannot_be_asked_is_no_name_server(server):
    with pytest.raises(CannotConnect):
        policy.dns(server)


def test_names_fit_and_differ_from_daemon_to_daemon():
    tags = [f"lambdad-{number:012x}" for number in range(200)]
    for named in (policy.links_of, policy.table_of, policy.mark_of, policy.short):
        assert len(set(map(named, tags))) == len(tags)
        assert named(tags[0]) == named(tags[0])
    longest = policy.links_of(tags[0]) + str(2 ** (32 - limits.network_pool_prefix))
    assert len(longest) <= 15  # IFNAMSIZ, with the byte that ends it
    assert 0 < policy.mark_of(tags[0]) < 2**31


def test_the_pool_is_the_same_as_long_as_it_is_free():
    pool = policy.choose_pool("tag", [])
    assert pool == policy.choose_pool("tag", [IPv4Network("10.0.0.0/8")])
    assert pool.subnet_of(policy.POOLS[0])
    assert pool.num_addresses - 3 >= limits.environments_max


def test_the_pool_avoids_what_the_host_has_a_way_to():
    taken = []
    for _ in range(20):
        pool = policy.choose_pool("tag", taken)
        assert not any(pool.overlaps(other) for other in taken)
        taken.append(next(pool.hosts()) and IPv4Network((int(pool.network_address) + 9, 32)))
    assert len(set(taken)) == 20


def test_without_the_shared_addresses_there_are_others_and_without_these_none():
    known = [IPv4Network("100.64.0.0/10"), IPv4Network("0.0.0.0/0"), IPv4Network("0.0.0.0/1")]
    assert policy.choose_pool("tag", known).subnet_of(IPv4Network("198.18.0.0/15"))
    with pytest.raises(CannotConnect, match="has routes to all"):
        policy.choose_pool("tag", [*known, IPv4Network("198.18.0.0/15")])


def test_a_comment_tells_what_was_opened():
    assert policy.opened(policy.comment(["eth0", "wlan0.7"])) == ("eth0", "wlan0.7")
    assert policy.opened(policy.comment([])) == ()
    assert policy.opened("the comment of somebody else") == ()
    many = [f"interface{number:05}" for number in range(100)]
    assert len(policy.comment(many)) <= 250
    assert policy.opened(policy.comment(many)) == tuple(many[:15])


# The rules, asked what they make of a packet as the kernel would.


def verdict(chains, hook, **packet):
    """What the chain of a hook decides of a packet; ``None`` when it lets others decide."""
    named = {chain.name: chain for chain in chains}
    start = next(chain for chain in chains if chain.hook == hook)
    return walk(named, start, packet)


def walk(named, chain, packet):
    for rule in chain.rules:
        if all(holds(match, packet) for match in rule.matches):
            if rule.verdict not in named:
                return rule.verdict
            if decided := walk(named, named[rule.verdict], packet):
                return decided
    return None


def holds(match, packet):
    if isinstance(match, Link):
        name = packet.get(match.way, "")
        same = name == match.name if match.whole else name.startswith(match.name)
        return same is not match.negated
    if isinstance(match, Address):
        return IPv4Address(packet[match.end]) in match.network
    if isinstance(match, Protocol):
        return packet.get("protocol", "tcp") == match.name
    if isinstance(match, Port):
        return packet.get("port") == match.number
    assert isinstance(match, Connection)
    return match.state in packet.get("states", ("new",))


ALLOWED = (
    Allowed(IPv4Network("10.1.0.0/16"), None),
    Allowed(IPv4Network("10.2.0.0/16"), 80),
    Allowed(IPv4Network("192.168.7.53"), 53),
)
CHAINS = policy.chains(LINKS, POOL, ["eth0"], ALLOWED)
OUT = {"in": LINKS + "7", "out": "eth0", "port": 443}


@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
@pytest.mark.parametrize("destination", [INTERNET, "8.8.8.8", "1.1.1.1", "100.63.0.1", "11.0.0.1"])
def test_the_internet_is_open(protocol, destination):
    packet = {**OUT, "protocol": protocol, "destination": destination}
    assert verdict(CHAINS, "forward", **packet) is None


@pytest.mark.parametrize("end", [0, -1])
@pytest.mark.parametrize("network", policy.DENIED)
@pytest.mark.parametrize(("protocol", "answer"), [("tcp", "reset"), ("udp", "prohibit")])
def test_each_network_that_is_not_the_internet_is_closed(network, end, protocol, answer):
    packet = {**OUT, "protocol": protocol, "destination": str(network[end])}
    assert verdict(CHAINS, "forward", **packet) == answer


@pytest.mark.parametrize(
    ("destination", "protocol", "port", "decided"),
    [
        ("10.1.2.3", "tcp", 1, "accept"),
        ("10.1.2.3", "icmp", None, "accept"),
        ("10.2.0.1", "tcp", 80, "accept"),
        ("10.2.0.1", "udp", 80, "accept"),
        ("10.2.0.1", "tcp", 81, "reset"),
        ("10.2.0.1", "sctp", 80, "prohibit"),
        ("10.3.0.1", "tcp", 80, "reset"),
        ("192.168.7.53", "udp", 53, "accept"),
        ("192.168.7.53", "udp", 54, "prohibit"),
        ("192.168.7.54", "udp", 53, "prohibit"),
    ],
)
def test_what_is_allowed_is_open_as_far_as_it_was_said(destination, protocol, port, decided):
    packet = {**OUT, "destination": destination, "protocol": protocol, "port": port}
    assert verdict(CHAINS, "forward", **packet) == decided


@pytest.mark.parametrize("destination", ["10.1.2.3", INTERNET, str(POOL[5])])
@pytest.mark.parametrize("source_link", [LINKS + "8", "lmd123456" + "8", STRANGER, "docker0"])
def test_nothing_is_forwarded_to_an_environment(source_link, destination):
    packet = {"in": source_link, "out": LINKS + "7", "port": 80, "destination": destination}
    assert verdict(CHAINS, "forward", **packet) == "drop"
    assert verdict(CHAINS, "forward", **packet, states=("established",)) == "accept"


@pytest.mark.parametrize(
    ("destination", "port", "decided"),
    [
        ("192.168.7.53", 53, "accept"),
        ("192.168.7.53", 80, "reset"),
        ("10.1.2.3", 80, "reset"),  # a network that was allowed: here the host is in it
        ("10.2.0.1", 80, "reset"),
        (INTERNET, 443, "reset"),  # a public address of the host's own
        (str(POOL[1]), 3001, "reset"),
    ],
)
def test_the_host_itself_is_closed_but_for_single_ports(destination, port, decided):
    packet = {"in": LINKS + "7", "destination": destination, "port": port}
    assert verdict(CHAINS, "input", **packet) == decided
    assert verdict(CHAINS, "input", **packet, states=("established",)) == "accept"


def test_the_host_starts_no_conversation():
    packet = {"out": LINKS + "7", "destination": str(POOL[5])}
    assert verdict(CHAINS, "output", **packet) == "drop"
    assert verdict(CHAINS, "output", **packet, states=("established",)) == "accept"


@pytest.mark.parametrize("hook", ["input", "forward", "output", "postrouting"])
@pytest.mark.parametrize("states", [("new",), ("established",), ("established", "redirected")])
def test_what_is_not_ours_is_none_of_our_business(hook, states):
    packet = {"in": "docker0", "out": "eth1", "source": "172.17.0.2", "destination": "10.9.9.9"}
    assert verdict(CHAINS, hook, **packet, states=states) is None


@pytest.mark.parametrize(
    ("link", "out", "states", "decided"),
    [
        ("eth0", "eth1", ("new",), "drop"),
        ("eth0", "docker0", ("new", "redirected"), "accept"),
        ("eth0", "docker0", ("established",), None),
        ("eth0", "lmd1234567", ("established",), None),  # of another daemon
        ("eth01", "eth1", ("new",), None),
    ],
)
def test_a_link_that_was_opened_for_us_is_closed_to_strangers(link, out, states, decided):
    packet = {"in": link, "out": out, "destination": "10.9.9.9", "port": 80, "states": states}
    assert verdict(CHAINS, "forward", **packet) == decided


@pytest.mark.parametrize(
    ("source", "out", "decided"),
    [
        (str(POOL[2]), "eth0", "masquerade"),
        (str(POOL[2]), LINKS + "9", None),
        ("192.168.1.2", "eth0", None),
    ],
)
def test_environments_go_out_under_the_address_of_the_host(source, out, decided):
    assert verdict(CHAINS, "postrouting", source=source, out=out) == decided


def test_chains_that_others_lead_to_come_first():
    seen = set()
    for chain in CHAINS:
        own = {"accept", "drop", "reset", "prohibit", "masquerade"}
        assert {rule.verdict for rule in chain.rules} <= own | seen
        seen.add(chain.name)
