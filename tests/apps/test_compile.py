"""The compiler: what it computes anew, and what it refuses."""

from collections import Counter

import pytest

from tests.fabrics import EVERY_SEGMENT, fabric, facts
from weft.apps.compile import Compiler
from weft.apps.flow import Goto, Port, match
from weft.apps.pipeline import ADMIT, FORWARD, INTEGRATION, SERVE, UPLINK
from weft.apps.text import flow_text
from weft.topology.names import COOKIE_MAGIC

ONE_MORE = EVERY_SEGMENT + "  db3: {host: kvm1, nics: [{segment: db, ip: 10.0.9.7}]}\n"


def test_compiling_the_same_again_gives_the_very_same_units() -> None:
    compiler = Compiler()
    first, second = (compiler.compile(made, facts(made)) for made in (fabric(EVERY_SEGMENT), fabric(EVERY_SEGMENT)))
    for dpid, program in first.items():
        assert all(unit is second[dpid].units[key] for key, unit in program.units.items())


def test_one_guest_more_changes_only_what_has_to_do_with_it() -> None:
    compiler = Compiler()
    before, after = (compiler.compile(made, facts(made)) for made in (fabric(EVERY_SEGMENT), fabric(ONE_MORE)))
    changed = {
        key
        for dpid, program in after.items()
        for key, unit in program.units.items()
        if before[dpid].units.get(key) is not unit
    }
    assert changed == {
        ("kvm1", "admit", "db3.eth0"),
        ("kvm1", "reach", "db3.eth0"),
        ("kvm2", "reach", "db3.eth0"),
        ("kvm1", "flood", "db"),
    }


def test_no_two_flows_of_a_switch_are_the_same_flow() -> None:
    made = fabric(EVERY_SEGMENT)
    for program in Compiler().compile(made, facts(made)).values():
        assert [identity for identity, count in Counter(flow.identity for flow in program.flows()).items() if count > 1] == []


def test_every_flow_says_whom_it_serves() -> None:
    made = fabric(EVERY_SEGMENT)
    for program in Compiler().compile(made, facts(made)).values():
        assert all(flow.why and flow.cookie >> 32 == COOKIE_MAGIC for flow in program.flows())


def test_a_cookie_does_not_depend_on_the_line() -> None:
    made, moved = fabric(EVERY_SEGMENT), fabric("# one line more\n" + EVERY_SEGMENT)
    cookies = [
        sorted(flow.cookie for program in Compiler().compile(each, facts(each)).values() for flow in program.flows())
        for each in (made, moved)
    ]
    assert cookies[0] == cookies[1]


def test_a_table_refuses_to_send_packets_up() -> None:
    with pytest.raises(ValueError, match="no way"):
        FORWARD.flow(1, match(), Goto(ADMIT.number), why=("test",))


def test_a_table_refuses_what_follows_goto() -> None:
    with pytest.raises(ValueError, match="last"):
        ADMIT.flow(1, match(), Goto(SERVE.number), Goto(FORWARD.number), why=("test",))


def test_table_numbers_follow_declaration() -> None:
    for tables in (INTEGRATION, UPLINK):
        assert [table.number for table in tables] == list(range(len(tables)))


def test_a_match_brings_its_prerequisites() -> None:
    assert [term.field for term in match(arp_tpa=1)] == ["eth_type", "arp_tpa"]
    with pytest.raises(ValueError, match="arp_tpa needs"):
        match(arp_tpa=1, eth_type=0x0800)
    with pytest.raises(ValueError, match="does not fit"):
        match(vlan_vid=1 << 13)


def test_a_flow_reads_as_ovs_ofctl_writes_it() -> None:
    flow = ADMIT.flow(7, match(in_port=Port("web1-eth0"), ip_src=0x0A000904), Goto(SERVE.number), why=("test",))
    tables = {table.number: table.name for table in INTEGRATION}
    assert flow_text(flow, tables) == (
        "table=admit, priority=7,in_port=web1-eth0,eth_type=0x800,ip_src=10.0.9.4 actions=goto_table:serve"
    )
