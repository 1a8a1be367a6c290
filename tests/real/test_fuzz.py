"""Guests that send what no decent guest sends: none of it is anywhere but in their own segment, nothing dies, nobody else waits.

``WEFT_FUZZ_FRAMES`` says how many frames (`make nightly`: 100,000), ``WEFT_FUZZ_SEED`` which.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.real.fuzz import carried, ip, may_pass, stage_text, untagged
from tests.real.labs import ROOT, Lab, lab
from tests.real.malformed import ARP, ICMPV6, IGMP, IPV4, IPV6, TCP, Stage, Who, who
from weft.cli.stores import look
from weft.topology import names
from weft.topology.model import Fabric
from weft.topology.server import default_target

pytestmark = pytest.mark.real

NAME = "peers-fuzz"
FABRIC = f"""
fabric: {NAME}
segments:
  db: {{mode: isolated, subnets: [10.0.9.0/24, "fd00:9::/64"], dhcp: true, dns: true, multicast: snoop}}
  office: {{mode: nat, subnets: [192.168.122.0/24], uplink: physnet, dhcp: true, dns: true}}
  branch: {{mode: routed, subnets: [192.168.2.0/24], uplink: physnet, dhcp: true}}
  vault: {{mode: isolated, subnets: [10.0.8.0/24, "fd00:8::/64"], ra: false, policy: closed}}
  cells: {{mode: isolated, subnets: [10.0.7.0/24, "fd00:7::/64"], ra: false, private: true}}
  lan: {{mode: bridged, uplink: physnet, vlan: 5}}
  wlan: {{mode: bridged, uplink: physnet, vlan: 6}}
hosts:
  kvm1: {{address: 10.10.10.1/24, uplinks: {{physnet: {{nics: [ens224]}}}}}}
  kvm2: {{address: 10.10.10.2/24, uplinks: {{physnet: {{nics: [ens224]}}}}}}
guests:
  dbx: {{host: kvm1, nics: [{{segment: db, ip: [10.0.9.66, "fd00:9::66"]}}]}}
  db1: {{host: kvm1, nics: [{{segment: db, ip: [10.0.9.11, "fd00:9::11"]}}]}}
  db2: {{host: kvm2, nics: [{{segment: db, ip: [10.0.9.12, "fd00:9::12"]}}]}}
  officex: {{host: kvm1, nics: [{{segment: office, ip: 192.168.122.66}}]}}
  office1: {{host: kvm1, nics: [{{segment: office, ip: 192.168.122.11}}]}}
  office2: {{host: kvm2, nics: [{{segment: office, ip: 192.168.122.12}}]}}
  branchx: {{host: kvm1, nics: [{{segment: branch, ip: 192.168.2.66}}]}}
  branch1: {{host: kvm1, nics: [{{segment: branch, ip: 192.168.2.11}}]}}
  branch2: {{host: kvm2, nics: [{{segment: branch, ip: 192.168.2.12}}]}}
  vaultx: {{host: kvm1, nics: [{{segment: vault, ip: [10.0.8.66, "fd00:8::66"]}}]}}
  vault1: {{host: kvm1, nics: [{{segment: vault, ip: [10.0.8.11, "fd00:8::11"]}}]}}
  vault2: {{host: kvm2, nics: [{{segment: vault, ip: [10.0.8.12, "fd00:8::12"]}}]}}
  cellx: {{host: kvm1, nics: [{{segment: cells, ip: [10.0.7.66, "fd00:7::66"]}}]}}
  cell1: {{host: kvm1, nics: [{{segment: cells, ip: [10.0.7.11, "fd00:7::11"]}}]}}
  cell2: {{host: kvm2, nics: [{{segment: cells, ip: [10.0.7.12, "fd00:7::12"]}}]}}
  lanx: {{host: kvm1, nics: [{{segment: lan, ip: 10.5.0.66/24}}]}}
  lan1: {{host: kvm1, nics: [{{segment: lan, ip: 10.5.0.11/24}}]}}
  lan2: {{host: kvm2, nics: [{{segment: lan, ip: 10.5.0.12/24}}]}}
  wlan1: {{host: kvm1, nics: [{{segment: wlan, ip: 10.6.0.11/24}}]}}
policies:
  - {{name: shop, allow: tcp/80, from: vault, to: vault}}
"""
SENDERS = {"db": "dbx", "office": "officex", "branch": "branchx", "vault": "vaultx", "cells": "cellx", "lan": "lanx"}
FRAMES = int(os.environ.get("WEFT_FUZZ_FRAMES", "3000"))
SEED = int(os.environ.get("WEFT_FUZZ_SEED", "1"))
RATE = 600
"""Frames a second of each sender."""
PINGS = {"db1": "10.0.9.12", "office1": "203.0.113.1", "branch1": "192.168.2.12", "lan1": "10.5.0.12"}
PUBLIC, UNDERLAY, BRANCH = bytes((203, 0, 113)), bytes((10, 10, 10)), bytes((192, 168, 2))
LEASES = {"db1": "10.0.9.11", "office2": "192.168.122.12", "branch1": "192.168.2.11"}
FUZZ = (sys.executable, "-m", "tests.real.fuzz")


@dataclass
class Aftermath:
    """What was sent, what came out where, and what became of the lab meanwhile."""

    here: Lab
    fabric: Fabric
    sent: dict[str, int] = field(default_factory=dict)
    seen: dict[str, list[bytes]] = field(default_factory=dict)
    """By guest, and `wire`."""
    lost: dict[str, int] = field(default_factory=dict)
    before: dict[int, str] = field(default_factory=dict)
    after: dict[int, str] = field(default_factory=dict)
    leased: dict[str, str] = field(default_factory=dict)
    """What guests that asked by DHCP meanwhile were given."""

    def segment(self, guest: str) -> str:
        return self.fabric.guests[guest].endpoints[0].segment

    def who(self, guest: str) -> Who:
        endpoint = self.fabric.guests[guest].endpoints[0]
        fours, sixes = ([str(a.ip) for a in endpoint.addresses if a.version == version] for version in (4, 6))
        return who(endpoint.mac, *fours, *sixes)

    def gateway(self, segment: str) -> Who:
        made = self.fabric.segments[segment]
        return who(made.gateway_mac, *(str(subnet.gateway) for subnet in made.subnets))

    def stage(self, segment: str) -> Stage:
        me = SENDERS[segment]
        others = [self.who(guest) for guest in self.fabric.guests if guest != me]
        foreign = [self.gateway(other) for other in self.fabric.segments if other != segment]
        hosts = [who(names.mac(NAME, f"kvm{n}/ens224"), address) for n, address in ((1, "203.0.113.11"), (2, "10.10.10.2"))]
        outside = who(names.mac(NAME, "outside/physnet"), "203.0.113.1")
        return Stage(self.who(me), self.gateway(segment), (*others, *foreign, *hosts, outside))


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    file = folder / f"{NAME}.yaml"
    file.write_text(FABRIC)
    with lab(file, NAME) as here:
        made = Aftermath(here, look(default_target(NAME)).fabric)
        for guest, address in PINGS.items():
            assert here.pings(guest, address)
        made.before = running(here)
        attack(made, folder)
        made.after = running(here)
        yield made


def attack(made: Aftermath, folder: Path) -> None:
    """All senders at once, while every other guest and the wire are listened to and pings go on."""
    macs = [made.who(sender).mac.hex() for sender in SENDERS.values()]
    watchers = [guest for guest in made.fabric.guests if guest not in SENDERS.values()]
    listening = {name: listen(made.here, name, "eth0", macs, folder) for name in watchers}
    listening["wire"] = listen(made.here, "wires", "b.physnet", macs, folder)
    pinging = {guest: made.here.start(guest, "ping", "-q", "-i", "0.05", "-W", "2", to) for guest, to in PINGS.items()}
    each = FRAMES // len(SENDERS) + 1
    numbers = ("--count", str(each), "--rate", str(RATE))
    seeds = {segment: ("--seed", str(SEED * 1000 + place)) for place, segment in enumerate(SENDERS)}
    sending = {s: start(made.here, SENDERS[s], "send", "eth0", stage_text(made.stage(s)), *numbers, *seeds[s]) for s in SENDERS}
    made.leased = {guest: leased(made.here, guest) for guest in LEASES}
    for segment, process in sending.items():
        said, trouble = process.communicate(timeout=60 + each / RATE * 5)
        assert process.returncode == 0, trouble
        made.sent[segment] = int(said)
    for guest, process in pinging.items():
        process.send_signal(2)
        made.lost[guest] = lost(process.communicate(timeout=20)[0])
    for name, process in listening.items():
        process.communicate("", timeout=20)
        made.seen[name] = [bytes.fromhex(line) for line in (folder / name).read_text().splitlines()[1:]]


def start(here: Lab, space: str, *words: str, **streams: object) -> subprocess.Popen[str]:
    inside = ("ip", "netns", "exec", f"weft.{here.fabric}.{space}", *FUZZ, *words)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    return subprocess.Popen(inside, cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload, no-any-return]


def listen(here: Lab, space: str, interface: str, macs: list[str], folder: Path) -> subprocess.Popen[str]:
    """A watcher that is ready, writing to a file named after the place."""
    with (folder / space.replace("wires", "wire")).open("w") as out:
        process = start(here, space, "watch", interface, *macs, stdout=out)
    while not (folder / space.replace("wires", "wire")).read_text():
        assert process.poll() is None, process.communicate()
    return process


def leased(here: Lab, guest: str) -> str:
    """The address that a real client gets, and leaves alone; empty: none in a few tries."""
    done = here.exec(guest, "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "4", "-T", "1", "-s", "/bin/true")
    return (done.stdout + done.stderr).partition("lease of ")[2].partition(" ")[0]


def lost(said: str) -> int:
    """Of ping's own count; the last one may be under way."""
    line = next(line for line in said.splitlines() if "packets transmitted" in line)
    words = line.split()
    sent, received = int(words[0]), int(words[3])
    assert sent > 10
    return max(0, sent - received - 1)


def running(here: Lab) -> dict[int, str]:
    """Every process of the lab: its id and when it began, with what it is."""
    spaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()
    ids = {int(path.read_text()) for path in Path(f"/run/weft/{here.fabric}").rglob("*.pid")}
    for space in spaces:
        if space.startswith(f"weft.{here.fabric}."):
            said = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True, check=True).stdout
            ids |= {int(pid) for pid in said.split()}
    return {pid: text for pid in ids if (text := described(pid))}


def described(pid: int) -> str:
    try:
        began = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return began + Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def test_nothing_crosses_into_another_segment(aftermath: Aftermath) -> None:
    """Who heard a frame is in the segment of somebody who sent it, or the gateway routed it there as it should."""
    for guest in aftermath.seen.keys() - {"wire"}:
        mine = aftermath.segment(guest)
        sender = aftermath.who(SENDERS[mine]).mac if mine in SENDERS else None
        strange = [frame for frame in aftermath.seen[guest] if frame[6:12] != sender and not routed(aftermath, mine, frame)]
        assert [frame.hex() for frame in strange] == [], guest


def routed(aftermath: Aftermath, segment: str, frame: bytes) -> bool:
    """From the gateway of a routed segment, with the own address of a guest that may go there: of a nat or a routed one."""
    packet = ip(frame) if frame[12:14] == IPV4.to_bytes(2) else None
    senders = [aftermath.who(SENDERS[name]).v4 for name in ("office", "branch")]
    return segment == "branch" and frame[6:12] == aftermath.gateway(segment).mac and packet is not None and packet.src in senders


def test_neighbours_hear_nothing_that_is_forged(aftermath: Aftermath) -> None:
    for guest in aftermath.seen.keys() - {"wire"}:
        segment = aftermath.segment(guest)
        if segment in SENDERS:
            me, own = aftermath.who(SENDERS[segment]), aftermath.fabric.segments[segment].mode != "bridged"
            heard = [frame for frame in aftermath.seen[guest] if frame[6:12] == me.mac]
            assert [frame.hex() for frame in heard if not may_pass(frame, me, own)] == [], guest


def test_a_closed_segment_hears_only_what_a_policy_lets_in(aftermath: Aftermath) -> None:
    """And what neighbours must say to each other: who has which address, and who is in which group."""
    for guest in ("vault1", "vault2"):
        packets = [packet for frame in aftermath.seen[guest] if (packet := ip(frame) if is_ip(frame) else None)]
        judged = [p for p in packets if p.protocol != IGMP and not (p.protocol == ICMPV6 and p.icmp in (*range(130, 137), 143))]
        assert [packet for packet in judged if packet.protocol != TCP or packet.ports[1] != 80] == [], guest


@pytest.mark.parametrize("guest", ["cell1", "cell2"])
def test_on_a_private_segment_nobody_hears_anything(aftermath: Aftermath, guest: str) -> None:
    assert [frame.hex() for frame in aftermath.seen[guest]] == []


def is_ip(frame: bytes) -> bool:
    return frame[12:14] in (IPV4.to_bytes(2), IPV6.to_bytes(2))


def test_the_wire_has_only_what_belongs_on_it(aftermath: Aftermath) -> None:
    """In a tunnel its segment's key, with the VLAN's tag its guests; else hosts and outside, by addresses of theirs."""
    wrong = [frame.hex() for frame in aftermath.seen["wire"] if not on_wire(aftermath, frame)]
    assert wrong == []


def on_wire(aftermath: Aftermath, frame: bytes) -> bool:
    if (inner := carried(frame)) is not None and frame[30:33] == UNDERLAY:
        keys = {aftermath.fabric.segments[name].id: name for name in SENDERS if name != "lan"}
        segment = keys.get(inner[0])
        return segment is not None and (a_member_may(aftermath, segment, inner[1], own=True) or routed(aftermath, segment, inner[1]))
    tags, plain = untagged(frame)
    if tags:
        return tags == [5] and a_member_may(aftermath, "lan", plain, own=False)
    hosts = {bytes.fromhex(names.mac(NAME, what).replace(":", "")) for what in ("kvm1/ens224", "kvm2/ens224", "outside/physnet")}
    packet = ip(plain)
    public = packet is not None and packet.src[:3] in (PUBLIC, UNDERLAY, BRANCH)
    return plain[6:12] in hosts and (plain[12:14] == ARP.to_bytes(2) or (plain[12:14] == IPV4.to_bytes(2) and public))


def a_member_may(aftermath: Aftermath, segment: str, frame: bytes, own: bool) -> bool:
    """The sender, or a neighbour of it whose kernel quotes what it got (RFC 792)."""
    return any(may_pass(frame, aftermath.who(member.guest), own) for member in aftermath.fabric.members(segment))


def test_first_fragments_show_their_ports_to_the_guards(aftermath: Aftermath) -> None:
    assert "nx-match" in aftermath.here.ovs("kvm1", "ovs-ofctl", "-OOpenFlow14", "get-frags", "br-weft")
    assert "normal" in aftermath.here.ovs("kvm1", "ovs-ofctl", "-OOpenFlow14", "get-frags", "wx-physnet")


def test_nothing_of_the_lab_died(aftermath: Aftermath) -> None:
    gone = {pid: what for pid, what in aftermath.before.items() if aftermath.after.get(pid) != what}
    assert gone == {}
    assert len(aftermath.before) >= 9


def test_nothing_of_the_lab_stumbled(aftermath: Aftermath) -> None:
    logs = {path: path.read_text(errors="replace") for path in Path(f"/run/weft/{NAME}").rglob("*.log")}
    assert logs
    assert [(path, line) for path, text in logs.items() for line in text.splitlines() if "Traceback" in line or " ERROR " in line] == []


@pytest.mark.parametrize("guest", PINGS)
def test_nobody_else_waits(aftermath: Aftermath, guest: str) -> None:
    assert aftermath.lost[guest] == 0


def test_others_get_their_addresses_meanwhile(aftermath: Aftermath) -> None:
    assert aftermath.leased == LEASES


def test_everybody_still_talks(aftermath: Aftermath) -> None:
    for guest, address in PINGS.items():
        assert aftermath.here.pings(guest, address)
        assert aftermath.here.pings(SENDERS[aftermath.segment(guest)], address)


def test_the_frames_were_sent_and_the_watchers_had_their_eyes_open(aftermath: Aftermath) -> None:
    assert sum(aftermath.sent.values()) >= FRAMES
    for guest in ("db1", "db2", "office1", "office2", "branch1", "branch2", "lan1", "lan2", "vault1", "vault2", "wire"):
        assert aftermath.seen[guest], guest
