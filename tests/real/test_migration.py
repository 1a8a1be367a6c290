"""Guests of libvirt change hosts while they run: what leads to them changes with them."""

import signal
from collections.abc import Iterator

import pytest

from tests.real.plugged import MAC1, Plugged, plugged

pytestmark = pytest.mark.real

NAME = "lvmoves"


@pytest.fixture(scope="module")
def real() -> Iterator[Plugged]:
    with plugged(NAME) as here:
        yield here


@pytest.fixture
def guests(real: Plugged) -> Plugged:
    """Both run, each on its own host."""
    real.with_guests()
    return real


def test_a_guest_that_migrates_live_is_followed(guests: Plugged) -> None:
    """QEMU says by RARP where its guest is now, and that gets through, which switches outside need."""
    heard = guests.lab.start("ns2", "tcpdump", "-l", "-n", "-c", "1", "-i", "eth0", "ether", "proto", "0x8035")
    pings = guests.lab.start("ns2", "ping", "-i", "0.1", "-c", "600", "10.0.9.21")
    to = ("--migrateuri", "tcp://10.10.10.2:49152", "--persistent", "--undefinesource")
    guests.one.virsh("migrate", "--live", "vm1", guests.two.uri, *to)
    guests.becomes("vm1.eth0", "wired", "the file has it on kvm1", "kvm2")
    guests.reaches("ns1", "10.0.9.21")
    pings.send_signal(signal.SIGINT)
    print(pings.communicate(timeout=10)[0].strip().splitlines()[-2])  # `pytest -s` shows how many were lost
    assert f"Reverse Request who-is {MAC1}" in heard.communicate(timeout=30)[0]
    assert guests.ports("kvm1") == []
    assert not any(MAC1 in flow and "output:vnet" in flow for flow in guests.lab.flows("kvm1"))
    guests.two.virsh("migrate", "--live", "vm1", guests.one.uri, "--migrateuri", "tcp://10.10.10.1:49152", *to[2:])
    guests.becomes("vm1.eth0", "wired", host="kvm1")
    guests.reaches("ns2", "10.0.9.21")
