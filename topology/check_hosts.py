"""Whether hosts can be wired as the file says: NICs, uplinks, the underlay, the lab."""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address

from weft.topology import names
from weft.topology.check_segments import is_usable, overlap
from weft.topology.direct import direct
from weft.topology.document import Document, Faults
from weft.topology.model import HOST_UPLINK, Endpoint, Host
from weft.topology.schema import Guest, Nic, Uplink
from weft.topology.schema import Host as HostSpec
from weft.topology.terms import Address, Interface
from weft.topology.yaml12 import Path

FIRST_LAB_UPLINK = 11
"""A lab's hosts have .11, .12, … of `lab.outside`."""

Complaints = Iterator[tuple[Path, str]]


def check_hosts(document: Document, faults: Faults) -> None:
    for path, host in document.items("hosts"):
        for rest, what in (*_nics(host), *_uplinks(host)):
            faults.add((*path, *rest), what)
    for path, what in (*_underlay(document), *_plugged(document), *_outside(document), *_uplink_addresses(document)):
        faults.add(path, what)


def _nics(host: HostSpec) -> Complaints:
    """A NIC is in one bridge at most; a bridge's NIC cannot carry macvtap (EBUSY), but its virtual functions are free."""
    uses: list[tuple[Path, str]] = [
        (("uplinks", name, "nics", place), nic) for name, uplink in host.uplinks.items() for place, nic in enumerate(uplink.nics)
    ]
    uses += [(("macvtap", nic), nic) for nic in host.macvtap]
    taken: dict[str, Path] = {}
    for path, nic in uses:
        first = taken.setdefault(nic, path)
        if first != path:
            yield path, f'NIC "{nic}" is in {first[0]} "{first[1]}" already'.replace("uplinks ", "uplink ")
    for name, pf in host.sriov.items():
        at = taken.get(name)
        if at and at[0] == "uplinks" and at[1] != pf.uplink:
            yield ("sriov", name, "uplink"), f'NIC "{name}" is on uplink "{at[1]}", not "{pf.uplink}"'


def _uplinks(host: HostSpec) -> Complaints:
    for name, uplink in host.uplinks.items():
        if uplink.bond == "none" and len(uplink.nics) > 1:
            yield ("uplinks", name, "bond"), f"{len(uplink.nics)} NICs need a bond: active-backup, balance-slb or lacp"
        at = ("uplinks", name, "gateway")
        if uplink.gateway is None:
            continue
        if isinstance(uplink.address, str):
            yield at, "gateway needs an address beside it"
        elif uplink.gateway not in uplink.address.network or not is_usable(uplink.gateway, uplink.address.network):
            yield at, f"gateway {uplink.gateway} is not in {uplink.address.network}"
        elif uplink.gateway == uplink.address.ip:
            yield at, f"gateway {uplink.gateway} is the uplink's own address"


def _underlay(document: Document) -> Complaints:
    """Tunnels join hosts that hold guests of one segment, from address to address, all of one version."""
    taken: dict[Address, Path] = {}
    versions: dict[int, Path] = {}
    for path, host in document.items("hosts"):
        if host.address is None:
            continue
        first = taken.setdefault(host.address.ip, path)
        if first != path:
            yield (*path, "address"), f'address {host.address.ip} is host "{first[1]}"\'s already (line {document.line(*first)})'
        elder = versions.setdefault(host.address.version, path)
        if elder == path and len(versions) > 1:
            other = f'host "{next(iter(versions.values()))[1]}" has an IPv{10 - host.address.version} one'
            yield (*path, "address"), f"address {host.address.ip} does not fit: {other}, and tunnels need one version"
    yield from _without_address(document)


def _without_address(document: Document) -> Complaints:
    spec, told = document.spec, set[str]()
    spread: dict[str, list[str]] = {}
    for guest in spec.guests.values():
        for name in (segment for nic in guest.nics for segment in nic.segments if segment in spec.segments):
            segment, there = spec.segments[name], spread.setdefault(name, [])
            if segment.mode != "bridged" and segment.span == "fabric" and guest.host not in there:
                there.append(guest.host)
    for name, hosts in spread.items():
        for host in hosts if len(hosts) > 1 else ():
            if host in spec.hosts and spec.hosts[host].address is None and host not in told:
                told.add(host)
                other = next(peer for peer in hosts if peer != host)
                yield ("hosts", host), f'needs an address for its tunnels: segment "{name}" has guests here and on "{other}"'


def _plugged(document: Document) -> Complaints:
    """A guest on a segment with an uplink needs it on its host."""
    for path, guest in document.items("guests"):
        for place, nic in enumerate(guest.nics):
            for name in nic.segments:
                if wire := _needed_wire(document, guest, nic, name):
                    what = f'host "{guest.host}" has no uplink "{wire}", which segment "{name}" needs'
                    yield (*path, "nics", place, "segment" if nic.trunk is None else "trunk"), what


def _needed_wire(document: Document, guest: Guest, nic: Nic, name: str) -> str | None:
    """A NIC of its own needs none: that its wire is the right one is said with the names."""
    host, segment = document.spec.hosts.get(guest.host), document.spec.segments.get(name)
    if host is None or segment is None or segment.uplink in (None, HOST_UPLINK) or segment.mode == "isolated" or direct(nic):
        return None
    return None if segment.uplink in host.uplinks else segment.uplink


def _uplink_addresses(document: Document) -> Complaints:
    """Addresses on one physical network are different, and not those of what is translated behind it."""
    taken: dict[tuple[str, Address], Path] = {}
    for path, host in document.items("hosts"):
        for name, uplink in host.uplinks.items():
            if isinstance(uplink.address, str):
                continue
            at = (*path, "uplinks", name)
            first = taken.setdefault((name, uplink.address.ip), at)
            if first != at:
                yield (*at, "address"), f'address {uplink.address.ip} is host "{first[1]}"\'s already (line {document.line(*first)})'
            yield from _behind(document, at, name, uplink, uplink.address)


def _behind(document: Document, at: Path, name: str, uplink: Uplink, address: Interface) -> Complaints:
    for segment_name, segment in document.spec.segments.items():
        for subnet in segment.subnets:
            if segment.mode == "nat" and segment.uplink == name and overlap(subnet, address.network):
                yield (*at, "address"), f'address {address} overlaps subnet {subnet} of segment "{segment_name}", which leaves by this uplink'


def _outside(document: Document) -> Complaints:
    lab = document.spec.lab
    if lab is None:
        return
    last = FIRST_LAB_UPLINK + len(document.spec.hosts) - 1
    if lab.outside.num_addresses - 2 < last:
        yield ("lab", "outside"), f"outside {lab.outside} has no address .{last} for the last host"
    for path, segment in document.items("segments"):
        for place, subnet in enumerate(segment.subnets):
            if segment.mode == "nat" and overlap(subnet, lab.outside):
                yield (*path, "subnets", place), f"subnet {subnet} overlaps the lab's outside {lab.outside}"
    for path, host in document.items("hosts"):
        owner = lab_owner(document, host.address.ip) if host.address else None
        if host.address and owner not in (None, f'host "{path[1]}"'):
            yield (*path, "address"), f"address {host.address.ip} is {owner} in the lab"


def lab_owner(document: Document, address: Address) -> str | None:
    """Who has an address of the lab's outside already."""
    lab = document.spec.lab
    if lab is None or not isinstance(address, IPv4Address) or address not in lab.outside:
        return None
    number = int(address) - int(lab.outside.network_address)
    if number == 1:
        return "outside"
    place = number - FIRST_LAB_UPLINK
    return f'host "{list(document.spec.hosts)[place]}"' if 0 <= place < len(document.spec.hosts) else None


def check_interfaces(hosts: Mapping[str, Host], endpoints: Iterable[Endpoint], faults: Faults) -> None:
    """No two interfaces of a host share a name, no two bridges a datapath id."""
    taken: dict[tuple[str, str], Path] = {}
    dpids: dict[int, Path] = {}
    for path, host, dpid, interfaces in _interfaces(hosts, endpoints):
        if dpid is not None and dpids.setdefault(dpid, path) != path:
            faults.add(path, f"its datapath id {dpid:016x} is taken: choose another name")
        for interface in interfaces:
            first = taken.setdefault((host, interface), path)
            if first != path:
                line = faults.document.line(*first)
                faults.add(path, f'its interface "{interface}" on host "{host}" is that of line {line} already: choose another name')


def _interfaces(hosts: Mapping[str, Host], endpoints: Iterable[Endpoint]) -> Iterator[tuple[Path, str, int | None, list[str]]]:
    for host in hosts.values():
        at: Path = ("hosts", host.name)
        said: set[str] = set()
        peers = [names.tunnel_port(name) for name in hosts if name != host.name]
        yield (*at, "bridge"), host.name, host.dpid, [host.bridge, *peers]
        for name, uplink in host.uplinks.items():
            ports = [names.patch_port(name), names.patch_peer(name), names.exit_port(name), names.bond_port(name)]
            ports += [uplink.joins, *names.joint(name)[1:]] if uplink.joins else []
            nics = [nic for nic in uplink.nics if nic not in said]  # a NIC in two uplinks has been said
            said.update(nics)
            yield (*at, "uplinks", name), host.name, uplink.dpid, [uplink.bridge, *nics, *ports]
    for endpoint in endpoints:
        path: Path = ("segments", endpoint.segment, "host")
        if endpoint.attach != "host":
            path = ("guests", endpoint.guest, "nics", int(endpoint.nic.removeprefix("eth")))
        yield path, endpoint.host, None, [endpoint.port] if endpoint.port else []
