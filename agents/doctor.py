"""What this host can and cannot do, looked at and never changed: a list of findings, each failure with its mend."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["ok", "warning", "fail"]

EARLY_VSWITCHD = 10.0
"""Seconds of uptime before which ovs-vswitchd 3.1.0 counts no processors, opens the kernel datapath with no handlers and loses every
packet that needs it, until restarted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `weft doctor`. `fail`: weft cannot work here; `warning`: something it offers is not to be had here."""

    about: str
    verdict: Verdict
    found: str
    mend: str = ""


def findings() -> list[Finding]:
    """Everything that can be said of this host."""
    return [finding for look in LOOKS for finding in look()]


def _kernel() -> Iterator[Finding]:
    release = os.uname().release
    yield Finding("kernel", "ok", f"Linux {release}")
    if os.geteuid():
        yield Finding("user", "fail", "not root", "run weft as root: bridges, namespaces and Open vSwitch need it")


def _device(path: str, what: str, mend: str) -> Callable[[], Iterator[Finding]]:
    def look() -> Iterator[Finding]:
        there = Path(path).exists()
        yield Finding(path, "ok" if there else "warning", what if there else f"absent: no {what}", "" if there else mend)

    return look


def _programs() -> Iterator[Finding]:
    for program, package in (("ip", "iproute2"), ("nft", "nftables"), ("ethtool", "ethtool")):
        path = shutil.which(program)
        if path is None:
            yield Finding(program, "fail", "not installed", f"apt install {package}")
        else:
            yield Finding(program, "ok", path)


def _dnsmasq() -> Iterator[Finding]:
    path = shutil.which("dnsmasq", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if path is None:
        yield Finding("dnsmasq", "warning", "not installed: no DHCP, router advertisements or DNS", "apt install dnsmasq-base")
    else:
        yield Finding("dnsmasq", "ok", path)


def _open_vswitch() -> Iterator[Finding]:
    if shutil.which("ovs-vsctl") is None:
        yield Finding("Open vSwitch", "fail", "not installed", "apt install openvswitch-switch")
        return
    version = _output("ovs-vsctl", "--version").partition("\n")[0]
    yield Finding("Open vSwitch", "ok", version.removeprefix("ovs-vsctl (Open vSwitch) "))
    running = _output("ovs-vsctl", "--timeout=2", "get", "Open_vSwitch", ".", "ovs_version")
    if not running:
        yield Finding("ovs-vswitchd", "warning", "its database does not answer", "systemctl start openvswitch-switch")
    else:
        yield Finding("ovs-vswitchd", "ok", f"running, {running.strip()}")
        yield from _handlers()
    yield _datapath()


def _datapath() -> Finding:
    if Path("/sys/module/openvswitch").exists():
        return Finding("datapath", "ok", "kernel")
    if _runs("modprobe", "--dry-run", "openvswitch"):
        return Finding("datapath", "ok", "kernel, module not loaded yet")
    return Finding("datapath", "warning", "userspace: this kernel has no openvswitch module", "install a kernel that has it")


def _handlers() -> Iterator[Finding]:
    log = Path("/var/log/openvswitch/ovs-vswitchd.log")
    try:
        started_early = "n-handler-threads to 0" in log.read_text(errors="replace")
    except OSError:
        return
    if started_early:
        yield Finding(
            "ovs-vswitchd", "fail", "started too early at boot, it has no threads for new connections", "systemctl restart openvswitch-switch"
        )


def _libvirt() -> Iterator[Finding]:
    if not shutil.which("libvirtd") and not shutil.which("virtqemud"):
        yield Finding("libvirt", "warning", "not installed: no guests by libvirt", "apt install libvirt-daemon-system qemu-system-x86")
    elif importlib.util.find_spec("libvirt") is None:
        mend = "apt install libvirt-dev pkgconf gcc python3-dev, then pip install libvirt-python"
        yield Finding("libvirt", "warning", "installed, but not its Python library: no networks in it", mend)
    else:
        yield Finding("libvirt", "ok", "installed")


def _sriov() -> Iterator[Finding]:
    cards = {path.parent.parent.name: path.read_text().strip() for path in Path("/sys/class/net").glob("*/device/sriov_totalvfs")}
    if cards:
        yield Finding("SR-IOV", "ok", ", ".join(f"{name}: {total} VFs" for name, total in sorted(cards.items())))
    else:
        yield Finding("SR-IOV", "warning", "no NIC here has virtual functions")


def _iommu() -> Iterator[Finding]:
    groups = len(list(Path("/sys/kernel/iommu_groups").glob("*")))
    if groups:
        yield Finding("IOMMU", "ok", f"{groups} groups")
    else:
        yield Finding("IOMMU", "warning", "off: VFs cannot be given to guests", "boot with intel_iommu=on or amd_iommu=on")


def _runs(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=5, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _kernel,
    _programs,
    _dnsmasq,
    _open_vswitch,
    _device("/dev/net/tun", "taps", "modprobe tun"),
    _device("/dev/kvm", "hardware virtualisation", "enable VT-x or AMD-V in the firmware; modprobe kvm_intel or kvm_amd"),
    _device("/dev/vhost-net", "vhost-net: fast virtio", "modprobe vhost_net"),
    _libvirt,
    _sriov,
    _iommu,
)
