"""What this host can and cannot do, looked at and never changed: a list of findings, each failure with its mend."""

import importlib.util
import os
from collections.abc import Callable, Iterator

from weft.agents.doctor_cards import CARDS
from weft.agents.doctor_traffic import TRAFFIC
from weft.agents.finding import Finding, Ground

LOG = "/var/log/openvswitch/ovs-vswitchd.log"


def findings(ground: Ground) -> list[Finding]:
    """Everything that can be said of this host."""
    return [finding for look in (*LOOKS, *CARDS, *TRAFFIC) for finding in look(ground)]


def _kernel(ground: Ground) -> Iterator[Finding]:
    yield Finding("kernel", "ok", f"Linux {ground.text('/proc/sys/kernel/osrelease')}")
    if os.geteuid():
        yield Finding("user", "fail", "not root", "run weft as root: bridges, namespaces and Open vSwitch need it")


def _programs(ground: Ground) -> Iterator[Finding]:
    for program, package in (("ip", "iproute2"), ("nft", "nftables"), ("ethtool", "ethtool")):
        path = ground.program(program)
        yield Finding(program, "ok", path) if path else Finding(program, "fail", "not installed", f"apt install {package}")
    path = ground.program("dnsmasq")
    missing = Finding("dnsmasq", "warning", "not installed: no DHCP, router advertisements or DNS", "apt install dnsmasq-base")
    yield Finding("dnsmasq", "ok", path) if path else missing


def _devices(ground: Ground) -> Iterator[Finding]:
    for path, what, mend in (
        ("/dev/net/tun", "taps", "modprobe tun"),
        ("/dev/kvm", "hardware virtualisation", "enable VT-x or AMD-V in the firmware; modprobe kvm_intel or kvm_amd"),
        ("/dev/vhost-net", "vhost-net: fast virtio", "modprobe vhost_net"),
    ):
        there = ground.at(path).exists()
        yield Finding(path, "ok", what) if there else Finding(path, "warning", f"absent: no {what}", mend)


def _modules(ground: Ground) -> Iterator[Finding]:
    """A module that is built in is known by what it makes, where the kernel does not list it."""
    release = ground.text("/proc/sys/kernel/osrelease")
    builtin = ground.text(f"/lib/modules/{release}/modules.builtin")
    made = {
        "8021q": ground.at("/proc/net/vlan").exists(),
        "macvtap": "macvtap" in ground.text("/proc/devices"),
        "vfio_pci": ground.at("/sys/bus/pci/drivers/vfio-pci").exists(),
    }
    for module, what in (("8021q", "VLAN devices of the host's own"), ("macvtap", "attach: {macvtap: NIC}"), ("vfio_pci", "VFs for guests")):
        there = made[module] or ground.at(f"/sys/module/{module}").exists() or f"/{module.replace('_', '-')}.ko" in builtin
        if there or ground.runs("modprobe", "--dry-run", module):
            yield Finding(f"module {module}", "ok", "there" if there else "can be loaded")
        else:
            yield Finding(f"module {module}", "warning", f"this kernel has none: no {what}", "install a kernel that has it")


def _open_vswitch(ground: Ground) -> Iterator[Finding]:
    if ground.program("ovs-vsctl") is None:
        yield Finding("Open vSwitch", "fail", "not installed", "apt install openvswitch-switch")
        return
    version = ground.output("ovs-vsctl", "--version").partition("\n")[0]
    yield Finding("Open vSwitch", "ok", version.removeprefix("ovs-vsctl (Open vSwitch) "))
    running = ground.output("ovs-vsctl", "--timeout=2", "get", "Open_vSwitch", ".", "ovs_version")
    if not running:
        yield Finding("ovs-vswitchd", "warning", "its database does not answer", "systemctl start openvswitch-switch")
    elif "n-handler-threads to 0" in ground.text(LOG):  # 3.1.0 counts no processors in the first 10 s of uptime, and loses what needs it
        said = "started too early at boot, it has no threads for new connections"
        yield Finding("ovs-vswitchd", "fail", said, "systemctl restart openvswitch-switch")
    else:
        yield Finding("ovs-vswitchd", "ok", f"running, {running.strip()}")
    if "flow-restore-wait" in ground.output("ovs-vsctl", "--timeout=2", "get", "Open_vSwitch", ".", "other_config"):
        mend = "ovs-vsctl remove Open_vSwitch . other_config flow-restore-wait"
        yield Finding("flow-restore-wait", "warning", "Open vSwitch, once started again, looks at no packet", mend)
    yield _datapath(ground)


def _datapath(ground: Ground) -> Finding:
    if ground.at("/sys/module/openvswitch").exists():
        return Finding("datapath", "ok", "kernel")
    if ground.runs("modprobe", "--dry-run", "openvswitch"):
        return Finding("datapath", "ok", "kernel, module not loaded yet")
    return Finding("datapath", "warning", "userspace: this kernel has no openvswitch module", "install a kernel that has it")


def _libvirt(ground: Ground) -> Iterator[Finding]:
    if not (ground.program("libvirtd") or ground.program("virtqemud")):
        yield Finding("libvirt", "warning", "not installed: no guests by libvirt", "apt install libvirt-daemon-system qemu-system-x86")
    elif ground.runs("virsh", "--connect", "qemu:///system", "version"):
        yield Finding("libvirt", "ok", "answers at qemu:///system")
    elif ground.program("virsh") is None:
        yield Finding("libvirt", "ok", "installed; without virsh it is not asked")
    else:
        yield Finding("libvirt", "warning", "does not answer at qemu:///system", "systemctl start libvirtd")


def _libvirt_library(ground: Ground) -> Iterator[Finding]:
    if (ground.program("libvirtd") or ground.program("virtqemud")) and importlib.util.find_spec("libvirt") is None:
        mend = "apt install libvirt-dev pkgconf gcc python3-dev, then pip install libvirt-python"
        yield Finding("libvirt-python", "warning", "libvirt is installed, but not its Python library: no networks in it", mend)


LOOKS: tuple[Callable[[Ground], Iterator[Finding]], ...] = (_kernel, _programs, _open_vswitch, _devices, _modules, _libvirt, _libvirt_library)
