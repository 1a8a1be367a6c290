"""Guests of libvirt, real ones: QEMU, plugged into the networks that weft made, on two hosts with a libvirtd each."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.real.hypervisors import until
from tests.real.labs import weft
from tests.real.plugged import MAC1, MAC2, PIN2, SAYS, STRANGER, Plugged, plugged

pytestmark = pytest.mark.real

NAME = "lvguests"


@pytest.fixture(scope="module")
def real() -> Iterator[Plugged]:
    with plugged(NAME) as here:
        yield here


@pytest.fixture
def guests(real: Plugged) -> Plugged:
    """Both run, each on its own host."""
    real.with_guests()
    return real


def test_networks_come_once_libvirt_does_and_guests_wait_for_their_owner(real: Plugged) -> None:
    real.becomes("vm1.eth0", "waiting", "does not answer")
    assert "does not answer" in real.libvirt("kvm1")
    real.with_libvirt()
    real.becomes("vm1.eth0", "waiting", "libvirt has no guest vm1 here")
    real.with_defined()
    real.becomes("vm1.eth0", "waiting", "guest vm1 is not started")


def test_guests_on_two_hosts_reach_each_other_and_others(guests: Plugged) -> None:
    guests.reaches("ns1", "10.0.9.22")
    guests.reaches("ns2", "10.0.9.21")
    assert until(lambda: {"reached 10.0.9.21", "reached 10.0.9.11"} <= set(guests.two.console("vm2").replace("\r", "").split("\n")), 20)
    assert until(lambda: "reached 10.0.9.22" in guests.one.console("vm1"), 20)


def test_a_guest_whose_interface_id_the_file_says_is_no_other_with_its_mac(guests: Plugged) -> None:
    assert PIN2 in guests.two.virsh("dumpxml", "vm2")
    guests.two.virsh("destroy", "vm2")
    guests.becomes("vm2.eth0", "waiting", "guest vm2 is not started")
    guests.two.virsh("undefine", "vm2")
    guests.two.define("vm2", {MAC2: f"{NAME}-db"}, SAYS["vm2"], PIN2.replace("6", "7"))
    guests.two.virsh("start", "vm2")
    guests.becomes("vm2.eth0", "waiting", f"guest vm2 has no NIC with interface id {PIN2}")
    assert not guests.lab.pings("ns2", "10.0.9.22")
    guests.two.virsh("destroy", "vm2")
    guests.two.virsh("undefine", "vm2")


def test_virsh_plugs_a_nic_that_the_file_does_not_name_in_and_moves_it_to_another_segment(guests: Plugged) -> None:
    """virsh knows the NIC of a guest that runs by the type of what it is plugged into, a bridge."""
    plug = ("attach-interface", "vm1", "--type", "network", "--mac", STRANGER, "--model", "virtio", "--config", "--live")
    for segment, address in (("office", "10.0.8.23"), ("lan", "10.0.7.23")):
        guests.one.virsh(*plug, "--source", f"{NAME}-{segment}")
        guests.reaches("ns2", address)
        row = next(row for row in guests.lab.show("guests") if row["mac"] == STRANGER)
        assert (row["guest"], row["segment"], row["attach"], row["state"]) == ("vm1", segment, "stranger", "wired")
        for kind, where in (("bridge", "--live"), ("network", "--config")):
            guests.one.virsh("detach-interface", "vm1", "--type", kind, "--mac", STRANGER, where)
        assert until(lambda: not [row for row in guests.lab.show("guests") if row["mac"] == STRANGER], 20)


def guest(*words: str) -> str:
    """What `weft guest` says, for whoever reads its output or its errors."""
    done = weft("guest", *words, "--fabric", NAME, "--host", "kvm1")
    assert done.returncode == (0 if done.stdout else 1)
    return (done.stdout or done.stderr).strip()


def test_weft_plugs_a_guest_in_and_out_while_it_runs(guests: Plugged) -> None:
    assert guest("attach", "vm1", "lan", "--mac", STRANGER) == f"vm1 is plugged into lan, MAC {STRANGER}"
    guests.reaches("ns2", "10.0.7.23")
    assert guest("attach", "vm1", "lan") == f"guest vm1 is in network {NAME}-lan already, with MAC {STRANGER}"
    assert guest("detach", "vm1", "lan") == f"vm1 is unplugged from lan, MAC {STRANGER}"
    assert STRANGER not in guests.one.virsh("domiflist", "vm1") + guests.one.virsh("domiflist", "vm1", "--inactive")
    assert guest("detach", "vm1", "lan") == f"guest vm1 is not in network {NAME}-lan"


def test_what_cannot_be_plugged_is_said_in_one_line(guests: Plugged) -> None:
    assert guest("attach", "vm9", "lan") == "libvirt has no guest vm9 here: it has vm1"
    assert guest("attach", "vm1", "lna") == f'fabric {NAME} has no segment "lna": it has db, office, lan'
    assert guest("attach", "vm1", "lan", "--mac", MAC1).startswith(f"guest vm1 has a NIC with MAC {MAC1} already, in another network")
    assert guest("attach", "vm1", "lan", "--mac", "52:54").startswith("guest vm1: ")


def test_a_guest_of_the_file_in_another_segment_than_it_says_is_failed_until_it_is_back(guests: Plugged) -> None:
    assert guest("detach", "vm1", "db") == f"vm1 is unplugged from db, MAC {MAC1}"
    guests.becomes("vm1.eth0", "waiting", f"guest vm1 has no NIC with MAC {MAC1}")
    assert guest("attach", "vm1", "office", "--mac", MAC1) == f"vm1 is plugged into office, MAC {MAC1}"
    guests.becomes("vm1.eth0", "failed", "libvirt has it in the network of segment office, the file says db")
    assert guest("detach", "vm1", "office") == f"vm1 is unplugged from office, MAC {MAC1}"
    assert guest("attach", "vm1", "db") == f"vm1 is plugged into db, MAC {MAC1}"
    guests.becomes("vm1.eth0", "wired")
    guests.reaches("ns2", "10.0.9.21")


def test_a_network_of_somebody_else_by_our_name_is_left_and_said(guests: Plugged) -> None:
    theirs = guests.two.folder / "theirs.xml"
    theirs.write_text(f"<network><name>{NAME}-lan</name><bridge name='virbr9'/></network>")

    def taken() -> bool:
        """Between two looks of the agent, somebody puts another network where ours was."""
        for words in (("net-destroy", f"{NAME}-lan"), ("net-undefine", f"{NAME}-lan"), ("net-define", str(theirs))):
            guests.two.virsh(*words, ok=False)
        return "not weft's" in guests.libvirt("kvm2")

    assert until(taken, 30), guests.libvirt("kvm2")
    assert "virbr9" in guests.two.virsh("net-dumpxml", f"{NAME}-lan")
    guests.two.virsh("net-undefine", f"{NAME}-lan")
    assert until(lambda: guests.libvirt("kvm2") == "ok", 20)


def test_a_network_that_is_deleted_under_a_guest_comes_back_and_the_guest_stays_wired(guests: Plugged) -> None:
    guests.one.virsh("net-destroy", f"{NAME}-db")
    guests.one.virsh("net-undefine", f"{NAME}-db", ok=False)
    assert until(lambda: f"{NAME}-db" in guests.one.networks(), 20)
    assert guests.lab.pings("ns2", "10.0.9.21")
    assert guests.row("vm1.eth0")["state"] == "wired"


def test_libvirtd_starts_again_and_nothing_is_lost(guests: Plugged) -> None:
    before = guests.lab.flows("kvm1")
    guests.one.kill()
    assert guests.lab.pings("ns2", "10.0.9.21")
    assert until(lambda: "does not answer" in guests.libvirt("kvm1"), 20)
    guests.one.start()
    assert until(lambda: guests.libvirt("kvm1") == "ok", 20)
    assert until(lambda: f"{NAME}-db" in guests.one.networks(), 20)
    assert guests.lab.pings("ns2", "10.0.9.21")
    assert guests.lab.flows("kvm1") == before


def test_a_guest_that_is_killed_is_cleaned_up(guests: Plugged) -> None:
    os.kill(guests.two.qemu("vm2"), signal.SIGKILL)
    guests.becomes("vm2.eth0", "waiting", "guest vm2 is not started")
    assert until(lambda: guests.ports("kvm2") == [], 20)


def test_a_guest_that_is_killed_with_its_libvirtd_is_cleaned_up_when_that_is_back(guests: Plugged) -> None:
    guests.two.kill()
    os.kill(guests.two.qemu("vm2"), signal.SIGKILL)
    guests.two.start()
    assert until(lambda: guests.ports("kvm2") == [], 20)
    guests.becomes("vm2.eth0", "waiting", "guest vm2 is not started")
