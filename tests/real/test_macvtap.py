"""Macvtaps as an agent makes them in a lab, with frames through ``/dev/tapN``: the test is the guest's process that opens it."""

import fcntl
import os
import select
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.real.labs import Lab, lab, weft

pytestmark = pytest.mark.real

TUNSETIFF, TAP, NO_PI, MULTI_QUEUE = 0x400454CA, 0x0002, 0x1000, 0x0100
EXPERIMENT = b"\x88\xb5"
"""EtherType for local experiments (IEEE 802)."""
BROADCAST = b"\xff" * 6
SETTLE = 0.5
"""Seconds in which what must not come would come."""

FABRIC = """\
fabric: vftap
hosts:
  kvm1:
    address: 10.10.10.1/24
    uplinks: {physnet: {nics: [nic0]}}
    macvtap: {nic1: {uplink: physnet}, nic2: {uplink: physnet}, nic3: {uplink: physnet}, nic4: {uplink: physnet}, nic5: {uplink: physnet}}
  kvm2: {address: 10.10.10.2/24, uplinks: {physnet: {nics: [nic0]}}, macvtap: {nic1: {uplink: physnet}}}
segments:
  flat: {mode: bridged, uplink: physnet}
  tagged: {mode: bridged, uplink: physnet, vlan: 5}
guests:
  vm1: {host: kvm1, nics: [{segment: flat, ip: 203.0.113.51/24}]}
  bridge1: {host: kvm1, nics: [{segment: flat, attach: {macvtap: nic1}}]}
  bridge2: {host: kvm1, nics: [{segment: flat, attach: {macvtap: nic1}}]}
  private1: {host: kvm1, nics: [{segment: flat, attach: {macvtap: nic2, mode: private}}]}
  private2: {host: kvm1, nics: [{segment: flat, attach: {macvtap: nic2, mode: private}}]}
  vepa1: {host: kvm1, nics: [{segment: flat, attach: {macvtap: nic3, mode: vepa}}]}
  vepa2: {host: kvm1, nics: [{segment: flat, attach: {macvtap: nic3, mode: vepa}}]}
  own: {host: kvm1, nics: [{segment: flat, attach: {macvtap: nic4, mode: passthrough}}]}
  shared: {host: kvm1, nics: [{segment: flat, attach: {tap: {owner: nobody, group: nogroup, multiqueue: true}}}]}
  far: {host: kvm2, nics: [{segment: flat, attach: {macvtap: nic1}}]}
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file = tmp_path_factory.mktemp("macvtap") / "vftap.yaml"
    file.write_text(FABRIC)
    with lab(file, "vftap") as made:
        yield made


def rows(here: Lab) -> dict[str, dict[str, Any]]:
    return {row["endpoint"].partition(".")[0]: row for row in here.show("nics")}


@contextmanager
def opened(device: str, interface: str, space: str) -> Iterator[int]:
    """A macvtap's device, as QEMU opens it; made where this machine's /dev has no node for it."""
    path = Path(device)
    if not path.exists():
        number = subprocess.run(
            ["ip", "netns", "exec", space, "cat", f"/sys/class/net/{interface}/{path.name}/dev"], capture_output=True, text=True, check=True
        ).stdout
        os.mknod(path, 0o600 | 0o020000, os.makedev(*map(int, number.split(":"))))
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", interface.encode(), TAP | NO_PI))
        yield descriptor
    finally:
        os.close(descriptor)


class Guests:
    """Guests behind macvtaps of the lab, by name."""

    def __init__(self, here: Lab, *names: str) -> None:
        self._here, self._names, self._open = here, names, ExitStack()
        self.rows = rows(here)
        self.taps: dict[str, int] = {}

    def __enter__(self) -> "Guests":
        for name in self._names:
            row = self.rows[name]
            space = f"weft.{self._here.fabric}.{row['host']}"
            self.taps[name] = self._open.enter_context(opened(row["device"], row["interface"], space))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def mac(self, name: str) -> bytes:
        return bytes.fromhex(self.rows[name]["mac"].replace(":", ""))

    def send(self, source: str, target: bytes, text: bytes) -> None:
        os.write(self.taps[source], target + self.mac(source) + EXPERIMENT + text.ljust(46, b"\0"))

    def hears(self, name: str, text: bytes, seconds: float = 5, kind: bytes = EXPERIMENT) -> bool:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.taps[name]], [], [], left)[0] and self._is(os.read(self.taps[name], 2048), kind, text):
                return True
        return False

    @staticmethod
    def _is(frame: bytes, kind: bytes, text: bytes) -> bool:
        return frame[12:14] == kind and text in frame


def hairpin(here: Lab, nic: str, state: str) -> None:
    wires = ("ip", "-n", f"weft.{here.fabric}.wires")
    subprocess.run([*wires, "link", "set", f"kvm1.{nic}", "type", "bridge_slave", "hairpin", state], check=True)


def test_every_macvtap_is_made_with_its_mode_and_says_its_device(here: Lab) -> None:
    found = rows(here)
    assert {(name, row["mode"], row["state"]) for name, row in found.items()} == {
        ("bridge1", "bridge", "wired"), ("bridge2", "bridge", "wired"), ("private1", "private", "wired"), ("private2", "private", "wired"),
        ("vepa1", "vepa", "wired"), ("vepa2", "vepa", "wired"), ("own", "passthrough", "wired"), ("far", "bridge", "wired"),
    }  # fmt: skip
    assert len({row["device"] for row in found.values()}) == 8
    assert {row["endpoint"]: row["state"] for row in here.show("guests")}["far.eth0"] == "wired"


def test_in_bridge_mode_two_on_one_nic_talk_and_others_on_the_wire_do_too(here: Lab) -> None:
    with Guests(here, "bridge1", "bridge2", "far", "own") as guests:
        guests.send("bridge1", guests.mac("bridge2"), b"near")
        assert guests.hears("bridge2", b"near")
        guests.send("bridge1", guests.mac("far"), b"to the far one")
        assert guests.hears("far", b"to the far one")
        guests.send("far", guests.mac("own"), b"to the only owner")
        assert guests.hears("own", b"to the only owner")


def test_in_private_mode_two_on_one_nic_do_not_talk_and_a_hairpin_brings_no_broadcast(here: Lab) -> None:
    with Guests(here, "private1", "private2", "far") as guests:
        hairpin(here, "nic2", "off")
        guests.send("private1", guests.mac("private2"), b"hidden")
        hairpin(here, "nic2", "on")
        guests.send("private1", BROADCAST, b"to all")
        assert not guests.hears("private2", b"", SETTLE)
        guests.send("private1", guests.mac("far"), b"outward")
        assert guests.hears("far", b"outward")


def test_in_vepa_mode_two_on_one_nic_talk_by_the_switch_if_it_sends_back(here: Lab) -> None:
    with Guests(here, "vepa1", "vepa2") as guests:
        hairpin(here, "nic3", "off")
        guests.send("vepa1", guests.mac("vepa2"), b"reflected?")
        assert not guests.hears("vepa2", b"reflected?", SETTLE)
        hairpin(here, "nic3", "on")
        guests.send("vepa1", guests.mac("vepa2"), b"reflected!")
        assert guests.hears("vepa2", b"reflected!")
        guests.send("vepa1", BROADCAST, b"to all")
        assert guests.hears("vepa2", b"to all")


def test_a_guest_of_a_switch_meets_one_on_a_nic_of_its_own_host(here: Lab) -> None:
    asked = b"\x00\x01\x08\x00\x06\x04\x00\x01"
    with Guests(here, "bridge1") as guests:
        me = guests.mac("bridge1")
        ask = asked + me + bytes((203, 0, 113, 60)) + bytes(6) + bytes((203, 0, 113, 51))
        frame = b"\xff" * 6 + me + b"\x08\x06" + ask
        os.write(guests.taps["bridge1"], frame.ljust(60, b"\0"))
        answer = bytes((203, 0, 113, 51)) + me + bytes((203, 0, 113, 60))
        assert guests.hears("bridge1", answer, kind=b"\x08\x06")


def test_a_second_owner_in_passthrough_is_refused_by_the_file_and_by_the_kernel(here: Lab, tmp_path: Path) -> None:
    second = "  other: {host: kvm1, nics: [{segment: flat, attach: {macvtap: nic4, mode: passthrough}}]}\n"
    file = tmp_path / "second.yaml"
    file.write_text(FABRIC + second)
    done = weft("check", file)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert '"nic4" carries own.eth0 (line 19), and passthrough has one owner' in done.stderr
    space = ("ip", "-n", "weft.vftap.kvm1")
    subprocess.run([*space, "link", "add", "theirs", "link", "nic5", "type", "macvtap", "mode", "passthru"], check=True)
    file.write_text(FABRIC + second.replace("nic4", "nic5"))
    done = weft("apply", file)
    assert done.returncode == 1
    assert "NIC nic5 has a macvtap that is not this one, and passthrough has one owner: remove the other" in done.stderr
    subprocess.run([*space, "link", "del", "theirs"], check=True)
    here.run("apply", file)  # the cause is gone, and it is made
    assert rows(here)["other"]["state"] == "wired"


def test_a_vlan_below_a_macvtap_is_made_or_its_lack_said(here: Lab, tmp_path: Path) -> None:
    file = tmp_path / "tagged.yaml"
    file.write_text(FABRIC + "  tag: {host: kvm1, nics: [{segment: tagged, attach: {macvtap: nic5}}]}\n")
    weft("apply", file)
    row = rows(here)["tag"]
    assert (row["state"], row["reason"]) in (("wired", ""), ("failed", "this kernel has no VLANs on nic5: modprobe 8021q"))


OPEN = """
import fcntl, os, pwd, struct
taps = [os.open("/dev/net/tun", os.O_RDWR) for _ in range(2)]
user = pwd.getpwnam("{user}")
os.setgroups([])
os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
for tap in taps:
    fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", b"shared-eth0", {flags}))
"""


def test_a_tap_is_opened_by_its_owner_more_than_once_and_by_no_other_user(here: Lab) -> None:
    def refusal(user: str, flags: int) -> str:
        return here.exec("kvm1", "/usr/bin/python3", "-c", OPEN.format(user=user, flags=flags)).stderr

    many = TAP | NO_PI | MULTI_QUEUE
    assert refusal("nobody", many) == ""
    assert "Invalid argument" in refusal("nobody", TAP | NO_PI)  # made for more than one queue
    assert "Operation not permitted" in refusal("daemon", many)


def test_a_user_that_the_host_does_not_have_is_named_and_the_rest_is_wired(here: Lab, tmp_path: Path) -> None:
    file = tmp_path / "nouser.yaml"
    file.write_text(FABRIC.replace("owner: nobody", "owner: vf-nobody"))
    done = weft("apply", file)
    assert done.stderr.endswith("endpoint/shared.eth0: there is no user vf-nobody on this host, who is to open the tap\n")
    assert rows(here)["own"]["state"] == "wired"
    here.run("apply", here.file)
