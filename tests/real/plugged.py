"""A lab of two hosts with a libvirtd each, and guests of QEMU to be plugged into the networks that weft makes there.

Each thing is made when it is asked for, so that every test stands alone.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.real.hypervisors import Hypervisor, hypervisors, until
from tests.real.labs import Lab, lab

FABRIC = """
fabric: {name}
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
  vm1: {{host: kvm1, nics: [{{segment: db, ip: 10.0.9.21, mac: "52:54:00:00:00:01", attach: libvirt}}]}}
  vm2: {{host: kvm2, nics: [{{segment: db, ip: 10.0.9.22, mac: "52:54:00:00:00:02", attach: {{libvirt: {{interfaceid: {pin}}}}}}}]}}
"""
MAC1, MAC2, STRANGER = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"
PIN2 = "6e8e1c2a-0d4f-4c39-9a57-2f1b0c7d9e11"
"""The interface id of vm2's NIC, which it is known by."""
MACS = {"vm1": MAC1, "vm2": MAC2}
NETWORKS = ("db", "office", "lan")
SAYS = {
    "vm1": f"ip.{MAC1}=10.0.9.21/24 ip.{STRANGER}=10.0.8.23/24,10.0.7.23/24 reach=10.0.9.22",
    "vm2": f"ip.{MAC2}=10.0.9.22/24 reach=10.0.9.21,10.0.9.11",
}
"""By guest: what its kernel's command line says."""


class Plugged:
    """The lab is up. `one` and `two` are the libvirtds of kvm1 and kvm2, which are vm1's and vm2's."""

    def __init__(self, here: Lab, at: dict[str, Hypervisor]) -> None:
        self.lab, self.one, self.two = here, at["kvm1"], at["kvm2"]

    @property
    def both(self) -> tuple[Hypervisor, Hypervisor]:
        return self.one, self.two

    # ---- what is made on demand

    def with_libvirt(self) -> None:
        """Both libvirtds run, with all networks."""
        down = [each for each in self.both if not each.runs]
        for each in down:
            each.launch()
        for each in down:
            each.ready()
        for each, host in zip(self.both, ("kvm1", "kvm2"), strict=True):
            assert until(lambda each=each: self.networks <= each.networks(), 20), each.virsh("net-list", "--all")
            assert until(lambda host=host: self.libvirt(host) == "ok", 20), self.libvirt(host)

    @property
    def networks(self) -> set[str]:
        """Of the fabric, on both hosts."""
        return {f"{self.lab.fabric}-{name}" for name in NETWORKS}

    def with_defined(self) -> None:
        """Each guest is known to its libvirt, and to no other."""
        self.with_libvirt()
        self.give("vm1", self.one)
        self.give("vm2", self.two)

    def give(self, name: str, to: Hypervisor) -> None:
        """A guest is known to one libvirt alone: one that a test left elsewhere is ended."""
        for each in self.both:
            known = name in each.virsh("list", "--all", "--name").split()
            if each is not to and known:
                each.virsh("destroy", name, ok=False)
                each.virsh("undefine", name, ok=False)
            elif each is to and not known:
                each.define(name, {MACS[name]: f"{self.lab.fabric}-db"}, SAYS[name], PIN2 if name == "vm2" else "")

    def with_guests(self) -> None:
        """Both guests run, and answer."""
        self.with_defined()
        for each, name in ((self.one, "vm1"), (self.two, "vm2")):
            if name not in each.virsh("list", "--name").split():
                each.virsh("start", name)
        for name, host, address in (("vm1", "kvm1", "10.0.9.21"), ("vm2", "kvm2", "10.0.9.22")):
            self.becomes(f"{name}.eth0", "wired", host=host)
            self.reaches("ns2", address)

    # ---- what is

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
        lists = [each.virsh("list", "--all", ok=False) for each in self.both]
        files = [file for each in self.both for file in each.folder.glob("var-log-libvirt/qemu/vm1.log")]
        logs = [file.read_text(errors="replace")[-1500:] for file in files]
        return "\n".join((*lists, *logs, self.one.console("vm1")[-1500:]))

    def ports(self, host: str) -> list[str]:
        return [port for port in self.lab.ovs(host, "ovs-vsctl", "list-ports", "br-weft").split() if port.startswith("vnet")]


@contextmanager
def plugged(name: str, text: str = FABRIC) -> Iterator[Plugged]:
    """The lab for as long as the block runs; libvirt is not started yet."""
    folder = Path(tempfile.mkdtemp(prefix="lvg."))
    with hypervisors(folder, name, "kvm1", "kvm2") as at:
        file = folder / f"{name}.yaml"
        file.write_text(text.format(name=name, pin=PIN2, kvm1=at["kvm1"].uri, kvm2=at["kvm2"].uri))
        with lab(file, name) as here:
            try:
                yield Plugged(here, at)
            finally:
                for each in at.values():
                    each.stop()
