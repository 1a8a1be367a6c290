"""Policies against their plain reading, and conjunctions against all combinations."""

from functools import cache
from ipaddress import ip_address, ip_network
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.apps.test_policies import PEOPLE, ROUTED, back, packet
from tests.fabrics import fabric, facts
from weft.apps.classifier import Classifier
from weft.apps.compile import Compiler
from weft.apps.flow import Conjunction, Flow, Goto, Output, match
from weft.apps.pipeline import JUDGE
from weft.apps.policies import port_masks
from weft.apps.world import World
from weft.topology.model import Endpoint, Fabric
from weft.topology.model_rules import Party, Policy

PARTIES = ["any", "outside", "host", "db", "shut", "office", "web1", "db1", "db2.eth0", "{tier: web}", "{tier: db}", "10.0.9.0/29", "10.0.9.6"]
SERVICES = ["any", "tcp", "udp", "tcp/80", "tcp/70-85", "udp/53", "icmp"]
JOINED = ["any", "outside", "host", "office", "lab", "branch", "other", "off1", "bra2", "192.168.2.0/28", "192.168.0.0/16", "192.168.122.11"]
JOINED_ENDS = ["off1.eth0", "off2.eth0", "lab1.eth0", "bra1.eth0", "bra2.eth0", "oth1.eth0"]
ENDS = ["web1.eth1", "web2.eth1", "db1.eth0", "db2.eth0", "shut1.eth0", "shut2.eth0", "shut3.eth0", "web1.eth0", "web2.eth0"]

VERDICTS = ["allow", "deny", "audit"]
ASKED = st.sampled_from([("tcp", 80), ("tcp", 81), ("tcp", 22), ("udp", 53)])


def lists(parties: list[str]) -> st.SearchStrategy[list[tuple[str, str, str, str]]]:
    who = st.sampled_from(parties)
    return st.lists(st.tuples(st.sampled_from(VERDICTS), st.sampled_from(SERVICES), who, who), max_size=4)


def questions(ends: list[str]) -> st.SearchStrategy[list[tuple[str, str, tuple[str, int]]]]:
    return st.lists(st.tuples(st.sampled_from(ends), st.sampled_from(ends), ASKED), min_size=3, max_size=8)


@cache
def made(base: str, texts: tuple[tuple[str, str, str, str], ...]) -> tuple[Fabric, World]:
    lines = [f"  - {{name: p{n}, {verdict}: {what}, from: {who}, to: {whom}}}\n" for n, (verdict, what, who, whom) in enumerate(texts)]
    here = fabric(base + ("policies:\n" + "".join(lines) if lines else ""))
    return here, World(here, Compiler().compile(here, facts(here)), facts(here))


def may(here: Fabric, sender: Endpoint, receiver: Endpoint, kind: str, port: int) -> bool:
    """The plain reading: the first allow or deny that speaks of it, then the segment's own rule."""
    for policy in here.policies:
        if policy.verdict != "audit" and speaks(policy, sender, receiver, kind, port):
            return policy.verdict == "allow"
    segment = here.segments[receiver.segment]
    return not segment.closed and (sender.segment == receiver.segment or segment.mode != "nat")


def speaks(policy: Policy, sender: Endpoint, receiver: Endpoint, kind: str, port: int) -> bool:
    service = policy.service
    fits = service.protocol in ("any", kind) and service.low <= port <= service.high
    return fits and is_one(policy.sender, sender) and is_one(policy.receiver, receiver)


def is_one(party: Party, endpoint: Endpoint) -> bool:
    if party.word:
        return party.word == "any"
    if party.network is not None:
        return any(interface.ip in party.network for interface in endpoint.addresses)
    return endpoint.segment == party.segment or endpoint.name in (party.endpoints or ())


@settings(max_examples=80, deadline=None)
@given(lists(PARTIES), questions(ENDS))
def test_who_reaches_whom_is_what_the_list_of_policies_says(texts, asked) -> None:
    here, world = made(PEOPLE, tuple(texts))
    for source, target, (kind, port) in asked:
        if here.endpoints[source].segment == here.endpoints[target].segment:
            ask(here, world, source, target, kind, port)


@settings(max_examples=60, deadline=None)
@given(lists(JOINED), questions(JOINED_ENDS))
def test_who_reaches_whom_in_another_segment_is_what_the_list_says(texts, asked) -> None:
    here, world = made(ROUTED, tuple(texts))
    for source, target, (kind, port) in asked:
        ask(here, world, source, target, kind, port)


def ask(here: Fabric, world: World, source: str, target: str, kind: str, port: int) -> None:
    sender, receiver = here.endpoints[source], here.endpoints[target]
    if sender == receiver:
        return
    sent = packet(world, source, target, 40000, port, kind)
    arrived = [packet for station, packet in world.send(source, sent).delivered if station.name == target]
    assert bool(arrived) == may(here, sender, receiver, kind, port), (source, target, kind, port)
    if arrived:
        assert source in world.send(target, back(receiver.mac, arrived[0])).to, "no answer comes back"


dimensions = st.lists(st.sets(st.integers(0, 5), min_size=1, max_size=3), min_size=2, max_size=3)
FIELDS = ("reg1", "reg2", "reg3")


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([10, 20, 30]), dimensions), max_size=3, unique_by=lambda one: one[0]), st.data())
def test_a_conjunction_is_all_its_combinations(given_ones, data) -> None:
    table, plain = Classifier(), Classifier()
    for number, (priority, sets) in enumerate(given_ones, 1):
        for place, values in enumerate(sets):
            for value in values:
                terms = match(**{FIELDS[place]: value})
                table.add(Flow(0, priority, terms, (Conjunction(number, place, len(sets)),), ("test",)), {})
        table.add(Flow(0, priority, match(conj_id=number), (Output(number),), ("test",)), {})
        for combination in product(*sets):
            plain.add(Flow(0, priority, match(**dict(zip(FIELDS, combination, strict=False))), (Output(number),), ("test",)), {})
    for each in (table, plain):
        each.add(Flow(0, 15, match(reg1=1), (Goto(9),), ("test",)), {})
        each.add(Flow(0, 0, match(), (), ("test",)), {})
    for _ in range(10):
        sent = {field: data.draw(st.integers(0, 5)) for field in FIELDS}
        one, other = table.find(sent), plain.find(sent)
        assert one is not None and other is not None and one.actions == other.actions


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_a_range_of_ports_is_a_few_masks_that_meet_it_and_nothing_else(one, other) -> None:
    low, high = sorted((one, other))
    masks = port_masks(low, high)
    assert len(masks) <= 30
    for port in {low, high, max(low - 1, 0), min(high + 1, 65535), (low + high) // 2, 0, 65535}:
        assert any(port & mask == value for value, mask in masks) == (low <= port <= high)


def judging(members: int) -> int:
    """Flows that judge, on the host of all, for one policy between two labels of so many guests each."""
    guests = "".join(
        f"  {tier}{n}: {{host: kvm1, labels: {{tier: {tier}}}, nics: [{{segment: big}}]}}\n" for tier in ("a", "b") for n in range(members)
    )
    head = PEOPLE.partition("segments:")[0]
    here = fabric(
        f"{head}segments:\n  big: {{mode: isolated, subnets: [10.1.0.0/16]}}\nguests:\n{guests}"
        "policies: [{name: p, allow: tcp/80-90, from: {tier: a}, to: {tier: b}}]\n"
    )
    program = Compiler().compile(here, facts(here))[here.hosts["kvm1"].dpid]
    return sum(flow.table == JUDGE.number for flow in program.flows())


def test_rules_between_labels_cost_the_sum_of_their_members() -> None:
    few, many = judging(10), judging(40)
    assert many - few == 2 * 30, "one flow for each member more"


def test_the_oracle_itself() -> None:
    here, _ = made(PEOPLE, (("deny", "tcp/80", "web1", "db"), ("allow", "any", "any", "shut")))
    ends = here.endpoints
    assert not may(here, ends["web1.eth1"], ends["db1.eth0"], "tcp", 80)
    assert may(here, ends["web1.eth1"], ends["db1.eth0"], "tcp", 81)
    assert may(here, ends["shut1.eth0"], ends["shut2.eth0"], "udp", 53)
    assert ip_address("10.0.9.6") in ip_network("10.0.9.0/29")
