"""Bonds as Open vSwitch's database has them (ovs-vswitchd.conf.db(5), Port): columns to write, rows and words to read."""

import re
from typing import Any

from weft.agents.observed import Member
from weft.topology.ovsdb import Row, map_value, set_value

DOWN_AFTER, UP_AFTER = 0, 500
"""Milliseconds that a link is down, and up again, before a bond leaves it and comes back: a switch port forwards later than it has a link."""
MODES = {"active-backup": "active-backup", "balance-slb": "balance-slb", "lacp": "balance-tcp"}
"""How Open vSwitch calls what the fabric file says."""
FALLBACK = {"lacp-fallback-ab": "true"}
"""A bond whose switch speaks no LACP works as active-backup, and not not at all."""


def bond_columns(mode: str) -> dict[str, Any]:
    return {
        "bond_mode": MODES[mode],
        "lacp": set_value(["active"] if mode == "lacp" else []),
        "other_config": map_value(FALLBACK if mode == "lacp" else {}),
        "bond_downdelay": DOWN_AFTER,
        "bond_updelay": UP_AFTER,
    }


def bond_words(mode: str) -> list[str]:
    """The same for ovs-vsctl(8)."""
    lacp = ["lacp=active", "other_config:lacp-fallback-ab=true"] if mode == "lacp" else ["lacp=[]"]
    return [f"bond_mode={MODES[mode]}", *lacp, f"bond_downdelay={DOWN_AFTER}", f"bond_updelay={UP_AFTER}"]


def bond_mode(row: Row) -> str:
    """As the fabric file says it; what it has no word for as Open vSwitch does."""
    if row["lacp"] == "active" and row["bond_mode"] == MODES["lacp"]:
        return "lacp"
    said = row["bond_mode"] or "bond"
    return f"{said} lacp={row['lacp']}" if row["lacp"] in ("active", "passive") else said


def member(row: Row) -> Member:
    return Member(row["name"], row["ofport"], row["error"] or "", row["link_state"] or "", row["lacp_current"])


def lacp_partners(said: str) -> dict[str, str]:
    """From ``ovs-appctl lacp/show``: a partner that was never heard has the system id 0."""
    found: dict[str, str] = {}
    nic = ""
    for line in said.splitlines():
        if begins := re.match(r"(?:member|slave): (\S+):", line):
            nic = begins[1]
            found[nic] = ""
        elif nic and (partner := re.match(r"\s+partner sys_id: (\S+)", line)) and partner[1] != "00:00:00:00:00:00":
            found[nic] = partner[1]
    return found
