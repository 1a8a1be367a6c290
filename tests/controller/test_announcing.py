"""A guest that is somewhere else now is announced there: when, and by which frames."""

from dataclasses import dataclass, field, replace
from ipaddress import ip_interface
from types import SimpleNamespace

import pytest
from os_ken.lib.packet import arp, ethernet, icmpv6, ipv6, packet, vlan

from tests.fabrics import TWO_HOSTS, fabric
from weft.controller import wire
from weft.controller.announcing import APART, TABLE, TIMES, Announcer, announcements
from weft.topology.model import Endpoint

FILE = """
segments: {db: {mode: isolated, subnets: [10.0.9.0/24, "fd00:9::/64"]}}
guests: {vm: {host: kvm1, nics: [{segment: db, ip: [10.0.9.21, "fd00:9::21"], mac: "52:54:00:00:00:01"}]}}
"""
VM = fabric(TWO_HOSTS + FILE).endpoints["vm.eth0"]
THERE = replace(VM, host="kvm2", port="vnet7")
DPIDS = {"kvm1": 1, "kvm2": 2}


@dataclass
class Line:
    version: int = wire.V1_4
    ports: dict[str, int] = field(default_factory=lambda: {"vnet7": 7})
    sent: list[bytes] = field(default_factory=list)

    def xid(self) -> int:
        return 1

    def write(self, data: bytes) -> None:
        self.sent.append(data)


class Switches:
    """Two of them; `waits` is what the announcer wants to be called again after."""

    def __init__(self) -> None:
        self.of = {1: self._one(), 2: self._one()}
        self.waits: list[float] = []
        self.announcer = Announcer(self.waits.append)

    @staticmethod
    def _one() -> SimpleNamespace:
        return SimpleNamespace(connection=Line(), state=SimpleNamespace(synced=True))

    def speak(self, now: float = 0.0) -> tuple[int, int]:
        """How many frames each switch has got by then."""
        self.announcer.speak(self.of, DPIDS, now)
        return len(self.of[1].connection.sent), len(self.of[2].connection.sent)

    def sees(self, *endpoints: Endpoint) -> None:
        self.announcer.follow(endpoints)


@pytest.fixture
def switches() -> Switches:
    return Switches()


def test_who_comes_or_stays_is_not_announced(switches: Switches) -> None:
    switches.sees(VM)
    switches.sees(VM)
    assert switches.speak() == (0, 0)


def test_who_moves_is_announced_twice_at_the_new_host_alone(switches: Switches) -> None:
    switches.sees(VM)
    switches.sees(THERE)
    assert [switches.speak(now) for now in (0, 0.1, APART, 2 * APART)] == [(0, 3), (0, 3), (0, 3 * TIMES), (0, 3 * TIMES)]
    assert switches.waits == [APART]


def test_it_waits_for_the_flows_and_the_port_of_the_new_host(switches: Switches) -> None:
    switches.sees(VM)
    switches.sees(THERE)
    switches.of[2].state.synced = False
    assert switches.speak() == (0, 0)
    switches.of[2].state.synced = True
    port = switches.of[2].connection.ports.pop("vnet7")
    assert switches.speak() == (0, 0)
    switches.of[2].connection.ports["vnet7"] = port
    assert switches.speak() == (0, 3)


def test_who_goes_on_or_away_meanwhile_is_not_announced_where_it_was(switches: Switches) -> None:
    for then in ((VM,), ()):
        switches.sees(VM)
        switches.sees(THERE)
        switches.sees(*then)
        assert switches.speak()[1] == 0


def test_who_has_no_known_address_is_not_announced(switches: Switches) -> None:
    switches.sees(replace(VM, addresses=()))
    switches.sees(replace(THERE, addresses=()))
    assert switches.speak() == (0, 0)


def test_it_comes_in_by_the_guests_own_port_and_through_the_pipeline(switches: Switches) -> None:
    switches.sees(VM)
    switches.sees(THERE)
    switches.speak()
    frames = list(announcements(THERE))
    assert switches.of[2].connection.sent == [wire.packet_out(wire.V1_4, 1, 7, TABLE, frame) for frame in frames]


@pytest.mark.parametrize("tag", [None, 7])
def test_the_frames_are_a_gratuitous_arp_and_unsolicited_advertisements(tag: int | None) -> None:
    """As RFC 5227 and RFC 4861 have them, and as os-ken reads them."""
    first, *others = [packet.Packet(frame) for frame in announcements(replace(VM, tag=tag))]
    for each in (first, *others):
        assert (each.get_protocol(vlan.vlan).vid if tag else None) == tag
    asked = first.get_protocol(arp.arp)
    assert first.get_protocol(ethernet.ethernet).dst == "ff:ff:ff:ff:ff:ff"
    assert (asked.opcode, asked.src_mac, asked.dst_mac) == (1, VM.mac, "00:00:00:00:00:00")
    assert asked.src_ip == asked.dst_ip == "10.0.9.21"
    assert [each.get_protocol(ipv6.ipv6).src for each in others] == ["fd00:9::21", "fe80::5054:ff:fe00:1"]
    for each in others:
        head, said = each.get_protocol(ipv6.ipv6), each.get_protocol(icmpv6.icmpv6)
        assert (head.dst, head.hop_limit, each.get_protocol(ethernet.ethernet).dst) == ("ff02::1", 255, "33:33:00:00:00:01")
        assert (said.type_, said.data.dst, said.data.res, said.data.option.hw_src) == (136, head.src, 1, VM.mac)


def test_an_advertisements_checksum_is_right() -> None:
    frame = next(announcements(replace(VM, addresses=(ip_interface("fd00:9::21/64"),))))
    again = packet.Packet(frame)
    again.get_protocol(icmpv6.icmpv6).csum = 0
    again.serialize()
    assert bytes(again.data) == frame
