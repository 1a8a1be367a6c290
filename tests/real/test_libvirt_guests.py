"""Guests of libvirt, real ones: QEMU, plugged into the networks that weft made, on two hosts with a libvirtd each."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.hypervisors import Hypervisor, hypervisors, until
from tests.real.labs import Lab, lab, weft

pytestmark = pytest.mark.real

NAME = "lvguests"
FABRIC = """
fabric: lvguests
segments:
  db: {{mode: isolated, subnets: [10.0.9.0/24]}}
  office: {{mode: isolated, subnets: [10.0.8.0/24]}}
  lan: {{mode: isolated, subnets: [10.0.7.0/24]}}
hosts:
  kvm1: {{address: 10.10.10.1/24, libvirt: "{kvm1}"}}
  kvm2: {{address: 10.10.10.2/24, libvirt: "{kvm2}"}}
guests:
  ns1: {{host: kvm1, nics: [{{segment: db, ip: 10.0.9.11}}, {{segment: office, ip: 10.0.8.11}}]}}
  ns2: {{host: kvm2, nics: [{{segment: db, ip: 10.0.9.12}}, {{segment: office, ip: 10.0.8.12}}, {{segment: lan, ip: 10.0.7.12}}]}}
  vm1: {{host: kvm1, nics: [{{segment: db, ip: 10.0.9.21, mac: "{mac1}", attach: libvirt}}]}}
  vm2: {{host: kvm2, nics: [{{segment: db, ip: 10.0.9.22, mac: "{mac2}", attach: libvirt}}]}}
"""
MAC1, MAC2, STRANGER = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"


class Real:
    def __init__(self, here: Lab, at: dict[str, Hypervisor]) -> None:
        self.lab, self.one, self.two = here, at["kvm1"], at["kvm2"]

    def row(self, endpoint: str) -> dict[str, Any]:
        return next((row for row in self.lab.show("guests") if row["endpoint"] == endpoint), {"state": "absent", "reason": ""})

    def libvirt(self, host: str) -> str:
        """What `weft show hosts` says of a host's libvirt."""
        return next(str(row["libvirt"]) for row in self.lab.show("hosts") if row["host"] == host)

    def becomes(self, endpoint: str, state: str, reason: str = "", host: str = "") -> None:
        def is_so() -> bool:
            row = self.row(endpoint)
            return row["state"] == state and reason in row["reason"] and host in row.get("host", "")

        assert until(is_so, 30), f"{self.row(endpoint)}\n{self.evidence()}"

    def reaches(self, guest: str, address: str) -> None:
        assert until(lambda: self.lab.pings(guest, address), 40), self.evidence()

    def evidence(self) -> str:
        """What the libvirtds, QEMU and the guest's own kernel say, for whoever reads why a test failed."""
        lists = [each.virsh("list", "--all", ok=False) for each in (self.one, self.two)]
        files = [file for each in (self.one, self.two) for file in each.folder.glob("var-log-libvirt/qemu/vm1.log")]
        logs = [file.read_text(errors="replace")[-1500:] for file in files]
        return "\n".join((*lists, *logs, self.one.console("vm1")[-1500:]))

    def ports(self, host: str) -> list[str]:
        return [port for port in self.lab.ovs(host, "ovs-vsctl", "list-ports", "br-weft").split() if port.startswith("vnet")]


@pytest.fixture(scope="module")
def real() -> Iterator[Real]:
    folder = Path(tempfile.mkdtemp(prefix="lvg."))
    with hypervisors(folder, NAME, "kvm1", "kvm2") as at:
        file = folder / f"{NAME}.yaml"
        file.write_text(FABRIC.format(kvm1=at["kvm1"].uri, kvm2=at["kvm2"].uri, mac1=MAC1, mac2=MAC2))
        with lab(file, NAME) as here:
            made = Real(here, at)
            try:
                yield made
            finally:
                for each in at.values():
                    each.stop()


def test_networks_come_once_libvirt_does_and_guests_wait_for_their_owner(real: Real) -> None:
    real.becomes("vm1.eth0", "waiting", "does not answer")
    assert "does not answer" in real.libvirt("kvm1")
    for each in (real.one, real.two):
        each.launch()
    for each in (real.one, real.two):
        each.ready()
        assert until(lambda each=each: {f"{NAME}-db", f"{NAME}-office"} <= each.networks(), 20), each.virsh("net-list", "--all")
    assert until(lambda: real.libvirt("kvm1") == real.libvirt("kvm2") == "ok", 20), real.libvirt("kvm1")
    real.becomes("vm1.eth0", "waiting", "libvirt has no guest vm1 here")
    real.one.define("vm1", {MAC1: f"{NAME}-db"}, f"ip.{MAC1}=10.0.9.21/24 ip.{STRANGER}=10.0.8.23/24,10.0.7.23/24 reach=10.0.9.22")
    real.two.define("vm2", {MAC2: f"{NAME}-db"}, f"ip.{MAC2}=10.0.9.22/24 reach=10.0.9.21,10.0.9.11")
    real.becomes("vm1.eth0", "waiting", "guest vm1 is not started")


def test_guests_on_two_hosts_reach_each_other_and_others(real: Real) -> None:
    real.one.virsh("start", "vm1")
    real.two.virsh("start", "vm2")
    real.becomes("vm1.eth0", "wired")
    real.becomes("vm2.eth0", "wired")
    real.reaches("ns1", "10.0.9.22")
    real.reaches("ns2", "10.0.9.21")
    assert until(lambda: {"reached 10.0.9.21", "reached 10.0.9.11"} <= set(real.two.console("vm2").replace("\r", "").split("\n")), 20)
    assert until(lambda: "reached 10.0.9.22" in real.one.console("vm1"), 20)


def test_virsh_plugs_a_nic_that_the_file_does_not_name_in_and_moves_it_to_another_segment(real: Real) -> None:
    """virsh knows the NIC of a guest that runs by the type of what it is plugged into, a bridge."""
    plug = ("attach-interface", "vm1", "--type", "network", "--mac", STRANGER, "--model", "virtio", "--config", "--live")
    for segment, address in (("office", "10.0.8.23"), ("lan", "10.0.7.23")):
        real.one.virsh(*plug, "--source", f"{NAME}-{segment}")
        real.reaches("ns2", address)
        row = next(row for row in real.lab.show("guests") if row["mac"] == STRANGER)
        assert (row["guest"], row["segment"], row["attach"], row["state"]) == ("vm1", segment, "stranger", "wired")
        for kind, where in (("bridge", "--live"), ("network", "--config")):
            real.one.virsh("detach-interface", "vm1", "--type", kind, "--mac", STRANGER, where)
        assert until(lambda: not [row for row in real.lab.show("guests") if row["mac"] == STRANGER], 20)


def guest(*words: str) -> str:
    """What `weft guest` says, for whoever reads its output or its errors."""
    done = weft("guest", *words, "--fabric", NAME, "--host", "kvm1")
    assert done.returncode == (0 if done.stdout else 1)
    return (done.stdout or done.stderr).strip()


def test_weft_plugs_a_guest_in_and_out_while_it_runs(real: Real) -> None:
    assert guest("attach", "vm1", "lan", "--mac", STRANGER) == f"vm1 is plugged into lan, MAC {STRANGER}"
    real.reaches("ns2", "10.0.7.23")
    assert guest("attach", "vm1", "lan") == f"guest vm1 is in network {NAME}-lan already, with MAC {STRANGER}"
    assert guest("detach", "vm1", "lan") == f"vm1 is unplugged from lan, MAC {STRANGER}"
    assert STRANGER not in real.one.virsh("domiflist", "vm1") + real.one.virsh("domiflist", "vm1", "--inactive")
    assert guest("detach", "vm1", "lan") == f"guest vm1 is not in network {NAME}-lan"


def test_what_cannot_be_plugged_is_said_in_one_line(real: Real) -> None:
    assert guest("attach", "vm9", "lan") == "libvirt has no guest vm9 here: it has vm1"
    assert guest("attach", "vm1", "lna") == f'fabric {NAME} has no segment "lna": it has db, office, lan'
    assert guest("attach", "vm1", "lan", "--mac", MAC1).startswith(f"guest vm1 has a NIC with MAC {MAC1} already, in another network")
    assert guest("attach", "vm1", "lan", "--mac", "52:54").startswith("guest vm1: ")


def test_a_guest_of_the_file_in_another_segment_than_it_says_is_failed_until_it_is_back(real: Real) -> None:
    assert guest("detach", "vm1", "db") == f"vm1 is unplugged from db, MAC {MAC1}"
    real.becomes("vm1.eth0", "waiting", f"guest vm1 has no NIC with MAC {MAC1}")
    assert guest("attach", "vm1", "office", "--mac", MAC1) == f"vm1 is plugged into office, MAC {MAC1}"
    real.becomes("vm1.eth0", "failed", "libvirt has it in the network of segment office, the file says db")
    assert guest("detach", "vm1", "office") == f"vm1 is unplugged from office, MAC {MAC1}"
    assert guest("attach", "vm1", "db") == f"vm1 is plugged into db, MAC {MAC1}"
    real.becomes("vm1.eth0", "wired")
    real.reaches("ns2", "10.0.9.21")


def test_a_network_of_somebody_else_by_our_name_is_left_and_said(real: Real) -> None:
    theirs = real.two.folder / "theirs.xml"
    theirs.write_text(f"<network><name>{NAME}-lan</name><bridge name='virbr9'/></network>")

    def taken() -> bool:
        """Between two looks of the agent, somebody puts another network where ours was."""
        for words in (("net-destroy", f"{NAME}-lan"), ("net-undefine", f"{NAME}-lan"), ("net-define", str(theirs))):
            real.two.virsh(*words, ok=False)
        return "not weft's" in real.libvirt("kvm2")

    assert until(taken, 30), real.libvirt("kvm2")
    assert "virbr9" in real.two.virsh("net-dumpxml", f"{NAME}-lan")
    real.two.virsh("net-undefine", f"{NAME}-lan")
    assert until(lambda: real.libvirt("kvm2") == "ok", 20)


def test_a_guest_that_migrates_live_is_followed(real: Real) -> None:
    """QEMU says by RARP where its guest is now, and that gets through, which switches outside need."""
    heard = real.lab.start("ns2", "tcpdump", "-l", "-n", "-c", "1", "-i", "eth0", "ether", "proto", "0x8035")
    pings = real.lab.start("ns2", "ping", "-i", "0.1", "-c", "600", "10.0.9.21")
    to = ("--migrateuri", "tcp://10.10.10.2:49152", "--persistent", "--undefinesource")
    real.one.virsh("migrate", "--live", "vm1", real.two.uri, *to)
    real.becomes("vm1.eth0", "wired", "the file has it on kvm1", "kvm2")
    real.reaches("ns1", "10.0.9.21")
    pings.send_signal(signal.SIGINT)
    print(pings.communicate(timeout=10)[0].strip().splitlines()[-2])  # `pytest -s` shows how many were lost
    assert f"Reverse Request who-is {MAC1}" in heard.communicate(timeout=30)[0]
    assert real.ports("kvm1") == []
    assert not any(MAC1 in flow and "output:vnet" in flow for flow in real.lab.flows("kvm1"))
    real.two.virsh("migrate", "--live", "vm1", real.one.uri, "--migrateuri", "tcp://10.10.10.1:49152", *to[2:])
    real.becomes("vm1.eth0", "wired", host="kvm1")
    real.reaches("ns2", "10.0.9.21")


def test_a_network_that_is_deleted_under_a_guest_comes_back_and_the_guest_stays_wired(real: Real) -> None:
    real.one.virsh("net-destroy", f"{NAME}-db")
    real.one.virsh("net-undefine", f"{NAME}-db", ok=False)
    assert until(lambda: f"{NAME}-db" in real.one.networks(), 20)
    assert real.lab.pings("ns2", "10.0.9.21")
    assert real.row("vm1.eth0")["state"] == "wired"


def test_libvirtd_starts_again_and_nothing_is_lost(real: Real) -> None:
    before = real.lab.flows("kvm1")
    real.one.kill()
    assert real.lab.pings("ns2", "10.0.9.21")
    assert until(lambda: "does not answer" in real.libvirt("kvm1"), 20)
    real.one.start()
    assert until(lambda: real.libvirt("kvm1") == "ok", 20)
    assert until(lambda: f"{NAME}-db" in real.one.networks(), 20)
    assert real.lab.pings("ns2", "10.0.9.21")
    assert real.lab.flows("kvm1") == before


def test_a_guest_that_is_killed_is_cleaned_up(real: Real) -> None:
    os.kill(real.two.qemu("vm2"), signal.SIGKILL)
    real.becomes("vm2.eth0", "waiting", "guest vm2 is not started")
    assert until(lambda: real.ports("kvm2") == [], 20)


def test_a_guest_that_is_killed_with_its_libvirtd_is_cleaned_up_when_that_is_back(real: Real) -> None:
    real.two.virsh("start", "vm2")
    real.becomes("vm2.eth0", "wired")
    real.two.kill()
    os.kill(real.two.qemu("vm2"), signal.SIGKILL)
    real.two.start()
    assert until(lambda: real.ports("kvm2") == [], 20)
    real.becomes("vm2.eth0", "waiting", "guest vm2 is not started")
