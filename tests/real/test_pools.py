"""Pools of libvirt's, by a real libvirtd: QEMU behind a macvtap that libvirt made on a NIC of the host, and definitions as it keeps them."""

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.hypervisors import Hypervisor, hypervisors, until
from tests.real.labs import Lab, lab, weft
from weft.agents.libvirt import Libvirt
from weft.agents.observed import HERE, Card, Function, Link, Observed, Virt
from weft.agents.plan import plan
from weft.agents.steps import LibvirtStep
from weft.topology.load import loads
from weft.topology.resolve import resolve
from weft.topology.rows import host_rows

pytestmark = pytest.mark.real

NAME = "lvpools"
FABRIC = """
fabric: lvpools
segments:
  flat: {{mode: bridged, uplink: physnet}}
  tagged: {{mode: bridged, uplink: physnet, vlan: 5}}
hosts:
  kvm1:
    libvirt: "{kvm1}"
    uplinks: {{physnet: {{nics: [nic0]}}}}
    macvtap: {{nic1: {{uplink: physnet, pool: [flat, tagged]}}, nic2: {{uplink: physnet}}}}
guests:
  near: {{host: kvm1, nics: [{{segment: flat, ip: 203.0.113.51/24}}]}}
  vm9: {{host: kvm1, nics: [{{segment: flat, mac: "{mac}", attach: {{macvtap: nic2}}}}]}}
lab: {{outside: 203.0.113.0/24}}
"""
MAC, PLUGGED, OWN = "52:54:00:00:01:01", "52:54:00:00:01:02", "52:54:00:00:01:03"
POOL = f"{NAME}-flat-nic1"
LACKING = "this kernel has no VLANs on nic1: modprobe 8021q"


LENDER, GUEST = "elsewhere-ens1f0", "11111111-2222-3333-4444-555555555555"
PORT_ID = "99999999-2222-3333-4444-555555555555"
PORT = f"""
<networkport>
  <uuid>{PORT_ID}</uuid>
  <owner><name>vm8</name><uuid>{GUEST}</uuid></owner>
  <portgroup name='lan'/>
  <mac address='52:54:00:00:01:08'/>
</networkport>
"""
CARD = """
mount -t tmpfs cards /sys/bus/pci/devices
mkdir -p /sys/bus/pci/devices/0000:0a:{00.0,10.2/physfn,10.4/physfn}
"""
"""What libvirt looks at before it takes a virtual function for one (virpci.c, virPCIDeviceIsVirtualFunction)."""


class Real:
    def __init__(self, here: Lab, libvirt: Hypervisor) -> None:
        self.lab, self.libvirt = here, libvirt

    def apply(self, without: str = "") -> None:
        """Where the kernel has no VLANs, weft says so, and does the rest."""
        file = self.libvirt.folder / "changed.yaml"
        file.write_text(self.lab.file.read_text().replace(without, "") if without else self.lab.file.read_text())
        done = weft("apply", file)
        assert done.returncode == 0 or done.stderr.endswith(f"{LACKING}\n"), done.stderr

    def said(self) -> str:
        return next(str(row["libvirt"]) for row in self.lab.show("hosts") if row["host"] == "kvm1")

    def reaches(self, address: str) -> bool:
        """By the wire: from a guest of the bridge."""
        return until(lambda: self.lab.pings("near", address), 40)

    def macvtaps(self) -> set[tuple[str, str]]:
        """MAC of each on the host, and what it is on."""
        found = json.loads(self.lab.exec("kvm1", "ip", "-json", "-d", "link").stdout)
        return {(each["address"], each["link"]) for each in found if each.get("linkinfo", {}).get("info_kind") == "macvtap"}


@pytest.fixture(scope="module")
def real() -> Iterator[Real]:
    folder = Path(tempfile.mkdtemp(prefix="lvp."))
    with hypervisors(folder, NAME, "kvm1") as at:
        file = folder / f"{NAME}.yaml"
        file.write_text(FABRIC.format(kvm1=at["kvm1"].uri, mac=OWN))
        with lab(file, NAME) as here:
            try:
                at["kvm1"].start()
                yield Real(here, at["kvm1"])
            finally:
                at["kvm1"].stop()


def test_a_pool_of_macvtaps_runs_and_one_in_a_vlan_does_or_says_what_the_kernel_lacks(real: Real) -> None:
    assert until(lambda: POOL in real.libvirt.networks(), 20), real.libvirt.virsh("net-list", "--all")
    assert until(lambda: f"{NAME}-tagged-nic1" in real.libvirt.networks() or LACKING in real.said(), 20), real.said()
    assert "dev='nic1'" in real.libvirt.virsh("net-dumpxml", POOL)


def test_a_guest_of_libvirt_gets_a_macvtap_out_of_it_and_meets_others_on_the_wire(real: Real) -> None:
    says = f"ip.{MAC}=203.0.113.61/24 ip.{PLUGGED}=203.0.113.62/24 ip.{OWN}=203.0.113.63/24 reach=203.0.113.1,203.0.113.51"
    real.libvirt.define("vm9", {MAC: POOL}, says)
    real.libvirt.virsh("start", "vm9")
    assert real.macvtaps() == {(MAC, "nic1"), (OWN, "nic2")}
    assert real.reaches("203.0.113.61"), real.libvirt.console("vm9")
    want = {"reached 203.0.113.1", "reached 203.0.113.51"}
    assert until(lambda: want <= set(real.libvirt.console("vm9").replace("\r", "").split("\n")), 20), real.libvirt.console("vm9")


def test_virsh_plugs_another_macvtap_in_and_out_while_the_guest_runs(real: Real) -> None:
    plug = ("--type", "network", "--source", POOL, "--mac", PLUGGED, "--model", "virtio", "--live")
    real.libvirt.virsh("attach-interface", "vm9", *plug)
    assert (PLUGGED, "nic1") in real.macvtaps()
    assert real.reaches("203.0.113.62"), real.libvirt.console("vm9")
    real.libvirt.virsh("detach-interface", "vm9", "--type", "direct", "--mac", PLUGGED, "--live")
    assert until(lambda: (PLUGGED, "nic1") not in real.macvtaps(), 20)


def test_a_guest_of_the_file_gets_its_macvtap_by_the_xml_that_weft_prints(real: Real) -> None:
    real.libvirt.sees("mount -t sysfs sysfs /sys")  # of its own namespace, as on a host
    file = real.libvirt.folder / "nic.xml"
    file.write_text(real.lab.run("libvirt", "interface", "vm9", "--fabric", NAME))
    real.libvirt.virsh("attach-device", "vm9", str(file), "--live")
    assert real.reaches("203.0.113.63"), real.libvirt.console("vm9")
    done = weft("libvirt", "interface", "near", "--fabric", NAME)
    why = "near.eth0 is a veth into a namespace, which no machine of libvirt's opens: attach: libvirt\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", why)


def test_a_pool_that_is_taken_out_of_the_file_stays_until_its_last_guest_has_left(real: Real) -> None:
    real.apply(", pool: [flat, tagged]")
    assert until(lambda: f"networks that stay as long as guests are in them: {POOL} (vm9)" in real.said(), 20), real.said()
    assert real.reaches("203.0.113.61")
    real.libvirt.virsh("destroy", "vm9")
    assert until(lambda: POOL not in real.libvirt.networks(), 20), real.said()
    real.apply()
    assert until(lambda: POOL in real.libvirt.networks(), 20), real.said()


ELSEWHERE = """
fabric: elsewhere
segments:
  lan: {mode: bridged, uplink: physnet, vlan: 5}
  flat: {mode: bridged, uplink: physnet}
hosts:
  kvm1: {libvirt: "qemu:///system", sriov: {ens1f0: {vfs: 2, uplink: physnet, pool: [lan, flat]}}}
  kvm2: {uplinks: {physnet: {nics: [ens1]}}}
guests:
  far1: {host: kvm2, nics: [{segment: lan}]}
"""
PCI = ["0000:0a:10.2", "0000:0a:10.4"]


async def converge(uri: str, file: str, busy: str = "") -> Virt:
    """What an agent does with this libvirt for a host with such a card, until nothing is left to do. `busy`: a function in use."""
    rows, libvirt = host_rows(resolve(loads(file, "elsewhere.yaml")))["kvm1"], Libvirt(lambda: None)
    functions = tuple(Function(n, pci, str(n), "", "", "a virtual machine has it" if pci == busy else "") for n, pci in enumerate(PCI))
    links = {HERE: {"ens1f0": Link("ens1f0", "", "", 1500, True, "")}}
    for _ in range(5):
        virt = await libvirt.look(uri, thorough=True)
        assert virt is not None and not virt.reason
        seen = Observed("netdev", links=links, cards={"ens1f0": Card(7, functions)}, virt=virt)
        steps = [action.step for action in plan("elsewhere", "kvm1", rows, seen, None).actions if isinstance(action.step, LibvirtStep)]
        if not steps:
            return virt
        for step in steps:
            await libvirt.do(step)
    raise AssertionError(steps)


def gives(virt: Virt) -> list[str]:
    """Of a network as it runs."""
    return [pci for pci in PCI if f"slot='0x10' function='0x{pci[-1]}'" in (virt.networks[LENDER].live or "")]


def test_a_pool_of_functions_gives_what_the_file_gives_to_nobody_and_is_not_changed_under_a_guest(real: Real) -> None:
    """Of the card libvirt sees just enough to believe in it; `tests/vm/pool` has a whole one."""
    real.libvirt.sees(CARD)
    port = real.libvirt.folder / "port.xml"
    port.write_text(PORT)
    virt = asyncio.run(converge(real.libvirt.uri, ELSEWHERE))
    assert (gives(virt), virt.networks[LENDER].autostart, virt.users(LENDER)) == (PCI, True, [])
    real.libvirt.virsh("net-port-create", LENDER, str(port))
    virt = asyncio.run(converge(real.libvirt.uri, ELSEWHERE, PCI[0]))
    assert (virt.networks[LENDER].lent, virt.users(LENDER)) == ({PCI[0]: "vm8"}, ["vm8"])
    more = ELSEWHERE + "  own: {host: kvm1, nics: [{segment: lan, attach: {vf: ens1f0}}]}\n"
    virt = asyncio.run(converge(real.libvirt.uri, more, PCI[0]))
    assert gives(virt) == PCI
    real.libvirt.virsh("net-port-delete", LENDER, PORT_ID)
    virt = asyncio.run(converge(real.libvirt.uri, more))
    own = resolve(loads(more, "elsewhere.yaml")).endpoints["own.eth0"].number
    assert gives(virt) == [PCI[1 - own]]
