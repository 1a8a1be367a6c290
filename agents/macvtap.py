"""Makes macvtaps and the VLANs below them, by netlink (ip-link(8), type macvtap and vlan)."""

import errno
import os
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from weft.agents.steps import MakeMacvtap, MakeVlan
from weft.topology.errors import WeftError

KERNEL_MODES = {"passthrough": "passthru"}
"""The others are called in the kernel as in the fabric file."""


def make_above(ip: Any, step: MakeVlan | MakeMacvtap) -> None:
    """Makes a link on another one, still down. Raises WeftError in the user's words."""
    lower = step.nic if isinstance(step, MakeVlan) else step.lower
    found = ip.link_lookup(ifname=lower)
    if not found:
        raise WeftError(f"{lower} is gone")
    try:
        if isinstance(step, MakeVlan):
            ip.link("add", ifname=step.name, kind="vlan", link=found[0], vlan_id=step.vlan, mtu=step.mtu)
            return
        mode = KERNEL_MODES.get(step.mode, step.mode)
        ip.link("add", ifname=step.name, index=step.index, kind="macvtap", link=found[0], macvtap_mode=mode)
        ip.link("set", index=step.index, address=step.mac, mtu=step.mtu)  # in passthrough the MAC of the NIC itself
    except NetlinkError as error:
        raise WeftError(_reason(step, lower, error.code)) from None


def _reason(step: MakeVlan | MakeMacvtap, lower: str, code: int) -> str:
    if code == errno.EOPNOTSUPP and isinstance(step, MakeVlan):
        return f"this kernel has no VLANs on {lower}: modprobe 8021q"
    if code == errno.EOPNOTSUPP:
        return "this kernel has no macvtap: modprobe macvtap"
    if code == errno.EBUSY:
        return f"NIC {lower} is in a bridge or a bond, where it carries no macvtap: take it out"
    if code == errno.EINVAL and isinstance(step, MakeMacvtap):
        return f"NIC {lower} has a macvtap that is not this one, and passthrough has one owner: remove the other"
    return f"{step.name} on {lower}: {os.strerror(code)}"
