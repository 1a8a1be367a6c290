"""NICs: virtual functions, the IOMMU that gives them to guests, and who else manages what weft would take."""

import re
from collections.abc import Callable, Iterator

from weft.agents.finding import Finding, Ground
from weft.topology.errors import WeftError

GRUB = "/etc/default/grub.d/weft.cfg"
KERNEL_LINE = {"GenuineIntel": "intel_iommu=on iommu=pt", "AuthenticAMD": "iommu=pt"}
"""What to add to the kernel's command line, by maker of the processor (kernel-parameters.txt); AMD's IOMMU is on by itself."""


def _sriov(ground: Ground) -> Iterator[Finding]:
    found = False
    for path in sorted(ground.at("/sys/class/net").glob("*/device/sriov_totalvfs")):
        found, name = True, path.parent.parent.name
        now = ground.text(f"/sys/class/net/{name}/device/sriov_numvfs") or "0"
        yield Finding(f"SR-IOV {name}", "ok", f"{now} of {path.read_text().strip()} VFs made")
    if not found:
        yield Finding("SR-IOV", "warning", "no NIC here has virtual functions")


def _iommu(ground: Ground) -> Iterator[Finding]:
    groups = len(list(ground.at("/sys/kernel/iommu_groups").glob("*")))
    if groups:
        yield Finding("IOMMU", "ok", f"{groups} groups")
    elif kernel_line(ground) in ground.text("/proc/cmdline"):
        yield Finding("IOMMU", "warning", "asked for and off: VFs cannot be given to guests", "enable VT-d or AMD-Vi in the firmware")
    else:
        yield Finding("IOMMU", "warning", "off: VFs cannot be given to guests", f"weft doctor --set-iommu (adds {kernel_line(ground)})")


def kernel_line(ground: Ground) -> str:
    maker = re.search(r"^vendor_id\s*:\s*(\S+)", ground.text("/proc/cpuinfo"), re.M)
    return KERNEL_LINE.get(maker[1] if maker else "", "iommu=pt")


def set_iommu(ground: Ground) -> bool:
    """Has GRUB start the kernel with the IOMMU on, from the next update-grub; False: it is so already. Raises WeftError."""
    if not ground.at("/etc/default/grub").exists():
        raise WeftError(f"there is no GRUB here: add {kernel_line(ground)} to the kernel's command line by hand")
    text = f'# Made by `weft doctor --set-iommu`.\nGRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {kernel_line(ground)}"\n'
    if ground.text(GRUB) == text.strip():
        return False
    try:
        ground.at(GRUB).parent.mkdir(parents=True, exist_ok=True)
        ground.at(GRUB).write_text(text)
    except OSError as error:
        raise WeftError(f"{ground.at(GRUB)}: {(error.strerror or str(error)).lower()}") from None
    return True


def managers(ground: Ground, nic: str) -> Iterator[Finding]:
    """Who else sets a NIC that weft would take: they would give it its address back."""
    stanza = re.compile(rf"^\s*iface\s+{re.escape(nic)}\s+inet6?\s+(static|dhcp|auto)\b", re.M)
    files = [ground.at("/etc/network/interfaces"), *sorted(ground.at("/etc/network/interfaces.d").glob("*"))]
    for path in files:
        if path.is_file() and stanza.search(path.read_text(errors="replace")):
            where = path.relative_to(ground.root)
            yield Finding(nic, "ok", f"ifupdown sets its address at boot (/{where}); weft moves it into the bridge then")
    if ground.at("/run/NetworkManager").exists() and not _unmanaged(ground, nic):
        mend = f"printf '[keyfile]\\nunmanaged-devices=interface-name:{nic}\\n' > /etc/NetworkManager/conf.d/weft.conf; nmcli general reload"
        yield Finding(nic, "warning", "NetworkManager manages it, and would take its address back", mend)
    index = ground.text(f"/sys/class/net/{nic}/ifindex")
    if index and "NETWORK_FILE=" in ground.text(f"/run/systemd/netif/links/{index}"):
        mend = f"a .network file for {nic} with [Network] KeepConfiguration=yes, or none for it"
        yield Finding(nic, "warning", "systemd-networkd manages it, and would take its address back", mend)


def _unmanaged(ground: Ground, nic: str) -> bool:
    said = (path.read_text(errors="replace") for path in ground.at("/etc/NetworkManager/conf.d").glob("*.conf"))
    return any(re.search(rf"^unmanaged-devices=.*interface-name:{re.escape(nic)}\b", text, re.M) for text in said)


CARDS: tuple[Callable[[Ground], Iterator[Finding]], ...] = (_sriov, _iommu)
