"""The namespaces and cables of a lab: the hosts, one Linux bridge for each physical network, and `outside` behind it.

========================  =========================================================================
``weft.shop.kvm1``        a host: its NICs are ends of cables to the wires
``weft.shop.wires``       bridge ``b.physnet`` for each physical network; tags pass through it. Before it, where a
                          host's uplink is a ``bond: lacp``, a switch that speaks that (`weft.agents.partners`)
``weft.shop.outside``     the rest of the world: .1 on every physical network that a host leaves by
``weft.shop.web1``        a guest; its host's agent makes it
========================  =========================================================================

Cables finish checksums in software at both ends: Open vSwitch's userspace datapath forwards frames as it gets them.
"""

import subprocess
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from weft.agents.spaces import NAMESPACES
from weft.topology import names
from weft.topology.errors import WeftError
from weft.topology.model import Fabric, Host, Lab, Uplink
from weft.topology.overlay import WIRE_MTU, mirror_uplink
from weft.topology.terms import Address

WIRES, OUTSIDE = "wires", "outside"
NETWORK = IPv4Network("203.0.113.0/24")
FIRST_HOST = 11
"""Last part of the first host's address on the network outside."""


def network(fabric: Fabric) -> IPv4Network:
    return fabric.lab.outside if fabric.lab else NETWORK


def network6(fabric: Fabric) -> IPv6Network:
    return (fabric.lab or Lab(NETWORK)).outside6


def gateway(fabric: Fabric) -> IPv4Address:
    """Where `outside` is."""
    return network(fabric)[1]


def gateway6(fabric: Fabric) -> IPv6Address:
    return network6(fabric)[1]


def host_addresses(fabric: Fabric, number: int) -> tuple[IPv4Address, IPv6Address]:
    """Of the n-th host on the network outside: .11 and ::11, …"""
    return network(fabric)[FIRST_HOST + number], network6(fabric)[int(str(FIRST_HOST + number), 16)]


def namespaces(fabric: str) -> list[Path]:
    """The namespaces of a lab that are there."""
    return sorted(NAMESPACES.glob(f"weft.{fabric}.*"))


def build(fabric: Fabric) -> None:
    """Makes hosts, wires and outside, with their addresses. Raises WeftError with what `ip` says."""
    first = [names.namespace(fabric.name, name) for name in (WIRES, OUTSIDE, *fabric.hosts)]
    _ip(f"netns add {space}" for space in first)
    _ip(_cables(fabric))
    _ip(_wires(fabric), names.namespace(fabric.name, WIRES))
    _ip(_outside(fabric), names.namespace(fabric.name, OUTSIDE))
    for number, host in enumerate(fabric.hosts.values()):
        _ip(_host(fabric, host, *host_addresses(fabric, number)), names.namespace(fabric.name, host.name))
    for space in first:
        _settle(space)


def remove(fabric: str) -> None:
    """Removes every namespace of a lab, and with them all links in them."""
    if spaces := namespaces(fabric):
        _ip((f"netns del {space.name}" for space in spaces), force=True)
    for space in namespaces(fabric):  # a file without a namespace behind it: `ip netns add` was killed half way
        space.unlink(missing_ok=True)


def plug(fabric: str, host: str, nics: Iterable[str], up: bool) -> None:
    """Plugs a host's cables in, or pulls them, at the other end."""
    state = "up" if up else "down"
    _ip((f"link set {cable(host, nic)} {state}" for nic in nics), names.namespace(fabric, WIRES))


def cable(host: str, nic: str) -> str:
    """The end of a cable that is in the wires."""
    return names.ifname(f"{host}.{nic}")


def trunk(host: str, physnet: str) -> tuple[str, str]:
    """Between the switch that speaks LACP with an uplink and the wire: its end in the switch, and its end in the wire."""
    return names.ifname(f"u.{host}.{physnet}"), names.ifname(f"w.{host}.{physnet}")


def spoken(fabric: Fabric) -> list[tuple[Host, Uplink]]:
    """The uplinks that somebody has to speak LACP with."""
    return [(host, uplink) for host in fabric.hosts.values() for uplink in host.uplinks.values() if uplink.bond == "lacp"]


def _wire(physnet: str) -> str:
    return names.ifname(f"b.{physnet}")


def _physnets(fabric: Fabric) -> dict[str, int]:
    """Every physical network and its MTU, in the order of the file."""
    found: dict[str, int] = {}
    for host in fabric.hosts.values():
        for uplink in host.uplinks.values():
            found[uplink.name] = max(uplink.mtu, found.get(uplink.name, 0))
        for wire in host.macvtap.values():
            found.setdefault(wire, WIRE_MTU)
    return found


def nics(host: Host) -> Iterator[tuple[str, str]]:
    """Every NIC that a host has in a lab, and the physical network it is on: those of its uplinks, and those that carry macvtaps."""
    yield from ((nic, uplink.name) for uplink in host.uplinks.values() for nic in uplink.cables)
    yield from host.macvtap.items()


def _first(host: Host) -> Uplink | None:
    """The uplink a host leaves by: the first."""
    return next(iter(host.uplinks.values()), None)


def _cables(fabric: Fabric) -> Iterator[str]:
    physnets, wires = _physnets(fabric), names.namespace(fabric.name, WIRES)
    for host in fabric.hosts.values():
        space = names.namespace(fabric.name, host.name)
        for nic, physnet in nics(host):
            mac, mtu = names.mac(fabric.name, f"{host.name}/{nic}"), physnets[physnet]
            other = f"peer name {cable(host.name, nic)} mtu {mtu} netns {wires}"
            yield f"link add {nic} netns {space} mtu {mtu} address {mac} type veth {other}"
    for host, uplink in spoken(fabric):
        (one, other), mtu = trunk(host.name, uplink.name), physnets[uplink.name]
        yield f"link add {one} netns {wires} mtu {mtu} type veth peer name {other} mtu {mtu} netns {wires}"
    for number, (physnet, mtu) in enumerate(physnets.items()):
        mac, space = names.mac(fabric.name, f"outside/{physnet}"), names.namespace(fabric.name, OUTSIDE)
        other = f"peer name {cable(OUTSIDE, str(number))} mtu {mtu} netns {wires}"
        yield f"link add eth{number} netns {space} mtu {mtu} address {mac} type veth {other}"


def _wires(fabric: Fabric) -> Iterator[str]:
    """Where copies of mirrors travel, a wire learns no MACs: this bridge knows no VLANs, in which alone a switch would not."""
    copied = {way.name for mirror in fabric.mirrors if (way := mirror_uplink(fabric, mirror))}
    yield "link set lo up"
    for number, physnet in enumerate(_physnets(fabric)):
        wire = _wire(physnet)
        yield f"link add {wire} type bridge forward_delay 0 mcast_snooping 0"
        yield f"link set {wire} up"
        yield f"link set {cable(OUTSIDE, str(number))} master {wire} up"
    for host, uplink in spoken(fabric):
        yield from (f"link set {device} up" for device in (trunk(host.name, uplink.name)[0], *(cable(host.name, nic) for nic in uplink.nics)))
    for device, physnet in _plugged(fabric):
        yield f"link set {device} master {_wire(physnet)} up"
        if physnet in copied:
            yield f"link set {device} type bridge_slave learning off"


def _plugged(fabric: Fabric) -> Iterator[tuple[str, str]]:
    """What is in a wire, beside `outside`, and in which: cables, or what leads to the switch that they end in."""
    grouped = {cable(host.name, nic) for host, uplink in spoken(fabric) for nic in uplink.nics}
    for host in fabric.hosts.values():
        ends = ((cable(host.name, nic), physnet) for nic, physnet in nics(host))
        yield from (end for end in ends if end[0] not in grouped)
    yield from ((trunk(host.name, uplink.name)[1], uplink.name) for host, uplink in spoken(fabric))


def _outside(fabric: Fabric) -> Iterator[str]:
    """`outside` has its address where hosts leave; where they leave by several networks, it knows which host is behind which."""
    net, device = network(fabric), {physnet: f"eth{number}" for number, physnet in enumerate(_physnets(fabric))}
    left_by = {name: device[uplink.name] for name, host in fabric.hosts.items() if (uplink := _first(host))}
    yield "link set lo up"
    for name in device.values():
        yield f"link set {name} up"
    for name in sorted(set(left_by.values()) or device.values()):
        yield f"address add {gateway(fabric)}/{net.prefixlen} dev {name}"
        yield f"address add {gateway6(fabric)}/{network6(fabric).prefixlen} dev {name} nodad"
    for number, host in enumerate(fabric.hosts):
        if len(set(left_by.values())) > 1 and host in left_by:
            yield from (f"route add {own} dev {left_by[host]}" for own in host_addresses(fabric, number))
    yield from _routed(fabric)


def _routed(fabric: Fabric) -> Iterator[str]:
    """What a physical network has to know: a routed subnet that is none of its own is behind the hosts, any of them."""
    for segment in fabric.segments.values():
        for net in segment.networks if segment.mode == "routed" else ():
            vias = [_leaving(fabric, number, net.version) for number, host in enumerate(fabric.hosts.values()) if _leaves(host, segment.uplink)]
            if vias and not (net.overlaps(network(fabric)) if net.version == 4 else net.overlaps(network6(fabric))):
                yield f"route add {net} via {vias[0]}"


def _keeps(uplink: Uplink) -> bool:
    """The host had its address there before weft came."""
    return uplink.address == "keep" or bool(uplink.joins)


def _leaves(host: Host, physnet: str | None) -> bool:
    first = _first(host)
    return first is not None and (first.name, first.address) == (physnet, "keep")


def _leaving(fabric: Fabric, number: int, version: int) -> Address:
    return next(own for own in host_addresses(fabric, number) if own.version == version)


def _host(fabric: Fabric, host: Host, address: IPv4Address, address6: IPv6Address) -> Iterator[str]:
    """A host as its owner set it up before weft came: addresses on its first NIC or on the Linux bridge that has it, a default route."""
    yield "link set lo up"
    for nic, _ in nics(host):
        yield f"link set {nic} up"
    for uplink in host.uplinks.values():
        if uplink.joins:
            yield f"link add {uplink.joins} mtu {uplink.mtu} type bridge forward_delay 0 mcast_snooping 0"
            yield f"link set {uplink.cables[0]} master {uplink.joins}"
            yield f"link set {uplink.joins} up"
    keeping = [uplink.devices[0] for uplink in host.uplinks.values() if _keeps(uplink)]
    owned = {uplink.address for uplink in host.uplinks.values()}
    first = _first(host)
    if first and _keeps(first):
        yield f"address add {address}/{network(fabric).prefixlen} dev {first.devices[0]}"
        yield f"address add {address6}/{network6(fabric).prefixlen} dev {first.devices[0]} nodad"
        yield f"route add default via {gateway(fabric)}"
        yield f"route add default via {gateway6(fabric)}"
    if host.address and keeping and str(host.address) not in owned:
        yield f"address add {host.address} dev {keeping[0]}"


def _settle(space: str) -> None:
    """No checksum is left to hardware that is not there; addresses of IPv6 are usable at once."""
    script = """
        sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
        for path in /sys/class/net/*; do
            case ${path##*/} in lo|b.*) ;; *) ethtool -K "${path##*/}" tx off tso off gso off gro off ;; esac
        done
    """
    subprocess.run(("ip", "netns", "exec", space, "sh", "-c", script), capture_output=True, check=False)


def _ip(lines: Iterable[str], namespace: str | None = None, force: bool = False) -> None:
    where = ("-n", namespace) if namespace else ()
    command = ("ip", *where, *(("-force",) if force else ()), "-batch", "-")
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False)
    if done.returncode and not force:
        raise WeftError(f"ip: {done.stderr.strip().splitlines()[0] if done.stderr.strip() else 'failed'}")
