"""Switches that speak LACP, on the wires of a lab: a Linux bridge forwards nothing that is said to the next switch alone (IEEE 802.1Q, 8.6.3).

One Open vSwitch in the namespace of the wires has a bridge for each uplink with ``bond: lacp``, and its cables end there as a group:

    kvm1: ens224, ens256 ==== g.kvm1.physnet | p.kvm1.physnet | u.kvm1.physnet ---- w.kvm1.physnet | b.physnet

While a host speaks no LACP the group works as active-backup.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from weft.agents import wires
from weft.agents.bonds import bond_words
from weft.topology import names
from weft.topology.errors import WeftError
from weft.topology.model import Fabric, Host, Uplink


def speak(fabric: Fabric, database: Path) -> None:
    """Makes the bridges. `database`: the socket of the wires' own Open vSwitch. Raises WeftError with what ovs-vsctl says."""
    words = [word for host, uplink in wires.spoken(fabric) for word in _bridge(fabric, host, uplink)]
    done = subprocess.run(("ovs-vsctl", f"--db=unix:{database}", "--timeout=10", *words), capture_output=True, text=True, check=False)
    if done.returncode:
        raise WeftError(f"ovs-vsctl: {done.stderr.strip()}")


def _bridge(fabric: Fabric, host: Host, uplink: Uplink) -> Iterator[str]:
    whose = f"{host.name}.{uplink.name}"
    bridge, group = names.ifname(f"p.{whose}"), names.ifname(f"g.{whose}")
    up, _ = wires.trunk(host.name, uplink.name)
    yield from ("--", "add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev", "fail_mode=standalone")
    for nic in uplink.nics:
        yield from ("--", f"--id=@{nic}", "create", "interface", f"name={wires.cable(host.name, nic)}")
    held_by, itself = ",".join(f"@{nic}" for nic in uplink.nics), names.mac(fabric.name, f"wires/{whose}")
    yield from ("--", f"--id=@{group}", "create", "port", f"name={group}", f"interfaces={held_by}", *bond_words("lacp"))
    yield from ("--", "set", "port", group, f'other_config:lacp-system-id="{itself}"', "--", "add", "bridge", bridge, "ports", f"@{group}")
    yield from ("--", "add-port", bridge, up)
