"""What an agent keeps for a time when nobody answers: flows that outlive their ports' numbers, and files that are whole or not there."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from weft.agents.keep import Keep, Told
from weft.agents.keptflows import Kept, bundle, kept, laid
from weft.apps.compile import Compiler
from weft.apps.facts import Facts
from weft.apps.flow import Port, Set
from weft.topology.load import load
from weft.topology.names import BASE_COOKIE, LEARNED_COOKIE, PORT_REGISTERS
from weft.topology.resolve import resolve

FLOWS = """
 cookie=0x7765667400000500, table=1, ip,reg2=0x3/0xffff,in_port=3 actions=meter:1,load:0x4->NXM_NX_REG2[0..15],output:4,IN_PORT
 cookie=0x7765667400000501, table=2, reg4=0x9/0xffff actions=drop
 cookie=0x7765667400000502, table=2, igmp,in_port=LOCAL actions=load:0->NXM_OF_IN_PORT[],resubmit(,3)
 cookie=0x5, table=2, in_port=3 actions=drop
"""
GROUPS = "OFPST_GROUP_DESC reply (OF1.4) (xid=0x2):\n group_id=5,type=ff,bucket=watch_port:3,actions=output:3\n"
METERS = "OFPST_METER_CONFIG reply:\nmeter=1 kbps burst bands=\ntype=drop rate=1000 burst_size=100\n\nmeter=2 pktps bands=\ntype=drop rate=10\n"
NUMBERS = {"web1-eth0": 3, "t.kvm2": 4}


def test_a_flow_follows_its_ports_to_other_numbers() -> None:
    what = laid(kept(METERS, GROUPS, FLOWS, NUMBERS), {"web1-eth0": 7, "t.kvm2": 17})
    assert what.flows[0].endswith("reg2=0x7/0xffff,in_port=7 actions=meter:1,load:0x11->NXM_NX_REG2[0..15],output:17,IN_PORT")
    assert what.groups == ("group_id=5,type=ff,bucket=watch_port:7,actions=output:7",)
    assert what.meters == ("meter=1,kbps,burst,bands=type=drop,rate=1000,burst_size=100", "meter=2,pktps,bands=type=drop,rate=10")


def test_a_flow_waits_for_a_port_that_is_not_there() -> None:
    what = laid(kept(METERS, GROUPS, FLOWS, NUMBERS), {"t.kvm2": 4})
    assert ["table=2" in line for line in what.flows] == [True]
    assert what.groups == ()


def test_a_flow_about_a_port_that_anybody_may_have_after_a_reboot_is_not_kept() -> None:
    assert not [line for line in kept("", "", FLOWS, NUMBERS).flows if "reg4" in line]


def test_what_the_switch_learned_the_agent_laid_or_somebody_else_made_is_not_kept() -> None:
    lines = [f"cookie={cookie:#x}, table=1, in_port=3 actions=drop" for cookie in (BASE_COOKIE, LEARNED_COOKIE, 5)]
    assert kept("", "", "\n".join(lines), NUMBERS).flows == ()


def test_kept_and_laid_where_nothing_moved_is_the_same_text_but_for_what_ofctl_cannot_read() -> None:
    what = laid(kept("", "", FLOWS, NUMBERS), NUMBERS)
    printed = [line.strip() for line in FLOWS.splitlines() if "0500" in line or "0502" in line]
    assert list(what.flows) == [line.replace("igmp", "ip,nw_proto=2") for line in printed]
    assert bundle(what) == "".join(f"flow add {line}\n" for line in what.flows)


def test_a_compiled_flow_has_a_port_in_no_other_register() -> None:
    fabrics = [resolve(load(str(path)), True) for path in (Path(__file__).parents[2] / "examples").glob("*.yaml")]
    flows = [flow for each in fabrics for program in Compiler().compile(each, Facts()).values() for flow in program.flows()]
    matched = {term.field for flow in flows for term in flow.match if isinstance(term.value, Port)}
    loaded = {action.field for flow in flows for action in flow.actions if isinstance(action, Set) and isinstance(action.value, Port)}
    assert {field for field in matched | loaded if field.startswith("reg")} == set(PORT_REGISTERS)


TOLD = Told("unix:/store", "shop", {}, 3, "unix:/controller")


def test_what_a_store_said_is_there_for_the_next_agent_and_not_for_one_of_another_store(tmp_path: Path) -> None:
    Keep(tmp_path / "kvm1").tell(TOLD)
    assert Keep(tmp_path / "kvm1").told("unix:/store") == TOLD
    assert Keep(tmp_path / "kvm1").told("tcp:192.0.2.1:6640") is None


OTHERS = '{"store": "unix:/store", "fabric": "x", "wanted": {"no/x": "{}"}}'


@pytest.mark.parametrize("text", ["", "{", "[]", '{"store": "unix:/store"}', OTHERS])
def test_what_is_spoilt_or_of_another_version_is_as_if_it_were_not_there(tmp_path: Path, text: str) -> None:
    (tmp_path / "host.json").write_text(text)
    (tmp_path / "bridge.br-weft.json").write_text(text)
    assert Keep(tmp_path).told("unix:/store") is None
    assert Keep(tmp_path).flows("br-weft") is None


def test_what_was_written_is_written_again_only_where_it_is_other(tmp_path: Path) -> None:
    keep = Keep(tmp_path)
    keep.keep("br-weft", Kept(flows=("a",)))
    first = (tmp_path / "bridge.br-weft.json").stat().st_ino
    keep.keep("br-weft", Kept(flows=("a",)))
    assert (tmp_path / "bridge.br-weft.json").stat().st_ino == first
    keep.keep("br-weft", Kept(flows=("b",)))
    assert Keep(tmp_path).flows("br-weft") == Kept(flows=("b",))
    keep.forget({"br-other"})
    assert Keep(tmp_path).flows("br-weft") is None


def test_a_file_that_cannot_be_written_leaves_the_one_before_and_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keep = Keep(tmp_path)
    keep.tell(TOLD)
    name = f".host.json.{os.getpid()}"
    (tmp_path / name).mkdir()
    for serial in (4, 5):
        keep.tell(replace(TOLD, serial=serial))
    assert Keep(tmp_path).told("unix:/store") == TOLD
    assert len(caplog.records) == 1 and "is a directory" in caplog.text
    (tmp_path / name).rmdir()
    keep.tell(replace(TOLD, serial=5))
    assert Keep(tmp_path).told("unix:/store") == replace(TOLD, serial=5)
