"""A host beside the fabric that it is to be a host of: NICs that the file names, and what fits through them."""

from collections.abc import Iterator, Mapping

from weft.agents.doctor_cards import managers
from weft.agents.finding import Finding, Ground
from weft.topology.model import Fabric, Host, Uplink
from weft.topology.names import joint


def of_host(ground: Ground, fabric: Fabric, host: Host) -> Iterator[Finding]:
    """What a file asks of this host."""
    yield from _dhcp(ground, host)
    for uplink in host.uplinks.values():
        if uplink.joins:
            yield from _linux_bridge(ground, uplink)
            continue
        for nic in uplink.nics:
            at = ground.at(f"/sys/class/net/{nic}")
            if not at.exists():
                there = sorted(path.name for path in ground.at("/sys/class/net").glob("*") if (path / "device").exists())
                mend = f"name one that is there: {', '.join(there) or 'this host has none'}"
                yield Finding(nic, "fail", f"{uplink.source}: uplink {uplink.name}: there is no such NIC", mend)
                continue
            if ground.text(f"/sys/class/net/{nic}/carrier") == "0":
                yield Finding(nic, "warning", "no carrier: nothing is heard on its wire", "plug its cable in, or bring the switch's port up")
            yield from managers(ground, nic)
            yield from _mtu(ground, nic, uplink.mtu)


def _linux_bridge(ground: Ground, uplink: Uplink) -> Iterator[Finding]:
    """One that the host has and keeps, and that gets one more port."""
    name = uplink.joins
    if not ground.at(f"/sys/class/net/{name}/bridge").exists():
        yield Finding(name, "fail", f"{uplink.source}: uplink {uplink.name}: there is no such Linux bridge", f"ip link add {name} type bridge")
        return
    mtu = ground.text(f"/sys/class/net/{name}/mtu")
    if mtu.isdecimal() and int(mtu) < uplink.mtu:
        yield Finding(name, "fail", f"a Linux bridge of mtu {mtu}, the file asks for {uplink.mtu}", f"mtu: {mtu} for its uplink")
    if ground.text(f"/sys/class/net/{name}/bridge/vlan_filtering") == "1":
        mend = f"bridge vlan add vid NUMBER dev {joint(uplink.name)[1]}, for each vlan of a segment"
        yield Finding(name, "warning", "a Linux bridge that filters VLANs: a new port of it carries untagged frames alone", mend)


def _dhcp(ground: Ground, host: Host) -> Iterator[Finding]:
    """The client that asks the wire for an uplink's address: no package of weft's brings it."""
    asking = next((uplink for uplink in host.uplinks.values() if uplink.address == "dhcp"), None)
    if asking is None:
        return
    path = ground.program("udhcpc")
    said = f"{asking.source}: uplink {asking.name}: not installed, and address: dhcp asks by it"
    yield Finding("udhcpc", "ok", path) if path else Finding("udhcpc", "fail", said, "apt install udhcpc")


def _mtu(ground: Ground, nic: str, wanted: int) -> Iterator[Finding]:
    now, most = (ground.text(f"/sys/class/net/{nic}/{name}") for name in ("mtu", "max_mtu"))
    if most.isdecimal() and 0 < int(most) < wanted:
        yield Finding(nic, "fail", f"takes no more than {most} octets, the file asks for {wanted}", f"mtu: {most} for its uplink")
    elif now.isdecimal() and int(now) != wanted:
        yield Finding(nic, "ok", f"mtu {now}; weft sets {wanted}")


def between(fabric: Fabric) -> Iterator[Finding]:
    """Hosts of a fabric that do not fit one another: on one wire with two MTUs, or a segment that a host's wire does not carry."""
    wires: dict[str, dict[int, list[str]]] = {}
    for host in fabric.hosts.values():
        for uplink in host.uplinks.values():
            wires.setdefault(uplink.name, {}).setdefault(uplink.mtu, []).append(host.name)
    for wire, by_mtu in wires.items():
        yield from _one_mtu(wire, by_mtu)
    for segment in fabric.segments.values():
        guests = {endpoint.host for endpoint in fabric.endpoints.values() if endpoint.segment == segment.name}
        lacking = sorted(name for name in guests if segment.mode == "bridged" and segment.uplink not in fabric.hosts[name].uplinks)
        if lacking:
            said = f"bridged onto {segment.uplink}, which {', '.join(lacking)} with guests in it is not on"
            yield Finding(f"segment {segment.name}", "warning", said, f"uplinks: {{{segment.uplink}: …}} for {lacking[0]}")


def _one_mtu(wire: str, by_mtu: Mapping[int, list[str]]) -> Iterator[Finding]:
    if len(by_mtu) > 1:
        said = "; ".join(f"{mtu} on {', '.join(hosts)}" for mtu, hosts in sorted(by_mtu.items()))
        yield Finding(f"wire {wire}", "warning", f"hosts differ in MTU: {said}: large packets are lost between them", "one mtu: for all")


def reported(states: Mapping[str, Mapping[str, Mapping[str, str]]]) -> Iterator[Finding]:
    """What running hosts say of one another: tunnels whose other end is not heard, objects that failed. `states`: by host and object."""
    for host, objects in states.items():
        for key, said in objects.items():
            if said.get("link") == "down":
                mend = f"ping the other end from {host} with -M do -s 1472: an MTU, a VLAN or a firewall on the way"
                yield Finding(f"{host} {key}", "warning", said.get("link_reason", "") or "the other end is not heard", mend)
            elif said.get("state") == "failed":
                yield Finding(f"{host} {key}", "warning", said.get("reason", ""), f"weft show guests, and the log of the agent of {host}")
