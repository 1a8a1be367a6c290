"""The objects of a host in a line each, for people."""

from weft.topology import names
from weft.topology.hostrow import (
    BridgeSpec,
    CardSpec,
    DhcpSpec,
    DirectSpec,
    EndpointSpec,
    HostWaySpec,
    LibvirtObject,
    LibvirtSpec,
    LowerSpec,
    MacvtapSpec,
    MemberSpec,
    MonitorSpec,
    NetworkSpec,
    ServiceSpec,
    Spec,
    TunnelSpec,
    UplinkSpec,
    VfSpec,
)


def detail(spec: Spec) -> str:
    """What a person would want to know of an object of a host."""
    match spec:
        case BridgeSpec():
            return "integration bridge"
        case UplinkSpec():
            if spec.joins:
                return f"bridge {spec.bridge} beside Linux bridge {spec.joins}"
            bond = f"{spec.bond} of " if spec.bond != "none" else ""
            return f"bridge {spec.bridge} with {bond}{', '.join(spec.nics)}, address {spec.address}"
        case TunnelSpec():
            return f"{spec.type} to {spec.remote}, watched by {spec.watch}"
        case ServiceSpec():
            return f"gateway {', '.join(spec.addresses)}"
        case HostWaySpec():
            return f"out through the host for {', '.join(spec.networks)}"
        case MonitorSpec():
            return f"to {spec.target}, of {', '.join(spec.bridges)}"
        case DhcpSpec():
            said = {"dhcp": spec.leases, "router advertisements": spec.advertises, "dns": spec.dns}
            given = f", strangers get {' and '.join(spec.ranges)}" if spec.ranges else ""
            return f"{', '.join(word for word, asked in said.items() if asked)} for {len(spec.guests)} guests{given}"
        case EndpointSpec():
            return " ".join((spec.attach, spec.port, "in", spec.segment, *spec.addresses))
        case MemberSpec():
            return f"asked whether it lives: {f'tcp/{spec.tcp}' if spec.tcp else 'ping'} at {spec.address}"
        case _:
            return _beside(spec)


def _beside(spec: DirectSpec | LibvirtObject) -> str:
    """What is beside the bridges: on NICs themselves, and in libvirt."""
    match spec:
        case LibvirtSpec():
            return f"libvirt at {spec.uri}"
        case NetworkSpec(nic=""):
            return f"libvirt network of segment {spec.segment}"
        case NetworkSpec():
            return f"libvirt network of macvtaps on {spec.lower}" if spec.lower else f"libvirt network of free virtual functions of {spec.nic}"
        case LowerSpec():
            return f"below macvtaps of libvirt's, mtu {spec.mtu}" + (f", VLAN {spec.vlan} of {spec.nic}" if spec.vlan else "")
        case CardSpec():
            return f"{spec.vfs} virtual functions"
        case VfSpec():
            return f"virtual function {spec.number} of {spec.nic}, {spec.mac}" + (f", VLAN {spec.vlan}" if spec.vlan else "")
        case MacvtapSpec():
            return f"{spec.mode} on {names.vlan_device(spec.nic, spec.vlan) if spec.vlan else spec.nic}, {spec.mac}"
