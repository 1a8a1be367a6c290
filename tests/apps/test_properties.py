"""Whatever the fabric and whatever a guest sends, it stays in its segment; and nothing goes round for ever."""

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fabrics import TWO_HOSTS, world
from weft.apps.fields import ARP, IP, IPV6
from weft.apps.packet import Packet
from weft.apps.world import World

KINDS = {
    "iso1": "{mode: isolated, subnets: [10.1.0.0/24]}",
    "iso2": "{mode: isolated, subnets: [10.2.0.0/24]}",
    "six": '{mode: isolated, subnets: ["fd00:6::/64"], ra: false}',
    "nat": "{mode: nat, subnets: [192.168.122.0/24], uplink: physnet}",
    "lan": "{mode: bridged, uplink: physnet, vlan: 5}",
    "flat": "{mode: bridged, uplink: physnet}",
}


@cache
def made(placed: tuple[tuple[str, int, bool], ...]) -> World:
    """A world with one guest for each (segment, host, spoof)."""
    segments = "".join(f"  {name}: {spec}\n" for name, spec in KINDS.items())
    guests = "".join(
        f"  g{number}: {{host: kvm{host}, nics: [{{segment: {segment}, spoof: {str(spoof).lower()}}}]}}\n"
        for number, (segment, host, spoof) in enumerate(placed)
    )
    return world(f"{TWO_HOSTS}segments:\n{segments}guests:\n{guests}")


fabrics = st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(1, 2), st.booleans()), min_size=2, max_size=6)
flags = st.integers(0, 2**16 - 1)


@st.composite
def sent(draw: st.DrawFn, here: World) -> tuple[str, Packet]:
    """A sender and a packet whose every field is one that means something in this fabric."""
    guests = sorted(here.fabric.endpoints)
    everyone = [*here.stations.values()]
    macs = [int(station.mac.replace(":", ""), 16) for station in everyone] + [(1 << 48) - 1, 0x333300000001]
    fours = [int(own) for station in everyone for own in station.own if own.version == 4] + [0, 0xFFFFFFFF]
    sixes = [int(own) for station in everyone for own in station.own if own.version == 6] + [0, 0xFF02 << 112 | 1]
    mac, four, six = (st.sampled_from(values) for values in (macs, fours, sixes))
    packet: Packet = {"eth_src": draw(mac), "eth_dst": draw(mac), "vlan_pcp": 0}
    packet["vlan_vid"] = draw(st.sampled_from([0, 0, 0, 0x1005, 0x1006]))
    packet["eth_type"] = draw(st.sampled_from([ARP, IP, IPV6]))
    if packet["eth_type"] == ARP:
        packet |= {"arp_op": draw(st.integers(1, 2)), "arp_spa": draw(four), "arp_tpa": draw(four)}
        packet |= {"arp_sha": draw(mac), "arp_tha": draw(mac)}
        return draw(st.sampled_from(guests)), packet
    prefix, address = ("ip", four) if packet["eth_type"] == IP else ("ipv6", six)
    packet |= {f"{prefix}_src": draw(address), f"{prefix}_dst": draw(address), "ip_proto": 17, "nw_ttl": 64, "ip_dscp": 0}
    packet |= {"udp_src": draw(flags), "udp_dst": draw(st.sampled_from([53, 67, 68, 6081]))}
    return draw(st.sampled_from(guests)), packet


@settings(max_examples=150, deadline=None)
@given(st.data(), fabrics)
def test_whatever_a_guest_sends_reaches_only_its_own_segment(data: st.DataObject, placed: list[tuple[str, int, bool]]) -> None:
    here = made(tuple(placed))
    for sender, packet in data.draw(st.lists(sent(here), min_size=1, max_size=8)):
        segment = here.fabric.endpoints[sender].segment
        for station, _ in here.send(sender, packet).delivered:
            reached = here.fabric.endpoints.get(station.name)
            if reached is not None:
                assert reached.segment == segment or {segment, reached.segment} == {"nat", "flat"}
            elif "@" in station.name:
                assert station.name.partition("@")[0] == segment
            else:
                assert segment in ("nat", "flat"), f"{sender} reached {station.name}"


@settings(max_examples=100, deadline=None)
@given(st.data(), fabrics)
def test_no_packet_comes_back_to_its_sender_or_twice_to_anyone(data: st.DataObject, placed: list[tuple[str, int, bool]]) -> None:
    here = made(tuple(placed))
    for sender, packet in data.draw(st.lists(sent(here), min_size=1, max_size=8)):
        reached = [name for name in here.send(sender, packet).to if name in here.fabric.endpoints]
        assert sender not in reached
        assert len(reached) == len(set(reached))
