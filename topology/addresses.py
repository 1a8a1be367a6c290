"""Who has which address: what the file says first, then, where a subnet leaves it open, what follows from names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Network, ip_interface

from weft.topology import names
from weft.topology.check_hosts import lab_owner
from weft.topology.check_segments import is_usable
from weft.topology.document import Document, Faults
from weft.topology.model import Segment, Subnet
from weft.topology.plugs import Plug
from weft.topology.terms import Address, Interface, Network


@dataclass(slots=True)
class Allotment:
    """Addresses of every segment and their owners."""

    document: Document
    faults: Faults
    taken: dict[tuple[str, Address], str] = field(default_factory=dict)
    """By segment and address: an endpoint, or what else has it."""
    given: dict[str, list[Interface]] = field(default_factory=dict)
    """By endpoint."""


def allot(
    plugs: list[Plug], document: Document, faults: Faults, shared: Mapping[tuple[str, Address], str]
) -> dict[str, tuple[Interface, ...]]:
    """The addresses of every endpoint. `shared`: those of services, by segment and address."""
    book = Allotment(document, faults, dict(shared))
    for plug in plugs:
        for subnet in plug.segment.subnets:
            if plug.segment.served:
                book.taken[plug.segment.name, subnet.gateway] = "the gateway"
    for plug in plugs:
        book.given[plug.name] = list(_explicit(plug, book))
    for plug in sorted(plugs, key=lambda plug: plug.name):
        if plug.segment.mode != "bridged":
            book.given[plug.name] += _derived(plug, book)
    return {plug.name: tuple(book.given[plug.name]) for plug in plugs}


def _explicit(plug: Plug, book: Allotment) -> list[Interface]:
    taken = []
    for place, given in plug.given:
        path = (*plug.path, "ip") if (*plug.path, "ip", place) not in book.document.lines else (*plug.path, "ip", place)
        interface = _placed(given, plug.segment)
        what = interface if isinstance(interface, str) else _refusal(interface, plug, book)
        if isinstance(interface, str) or what:
            book.faults.add(path, f"ip {given} {what}")
        else:
            book.taken[plug.segment.name, interface.ip] = plug.name
            taken.append(interface)
    return taken


def _placed(given: Address | Interface, segment: Segment) -> Interface | str:
    """With its prefix length, or what is wrong with it."""
    plain = getattr(given, "ip", given)
    subnet = next((subnet.network for subnet in segment.subnets if plain in subnet.network), None)
    if not segment.subnets and segment.mode in ("nat", "routed"):
        return ip_interface(plain)  # that it has no subnet was said
    if segment.subnets and subnet is None:
        return f'is outside {_listed(segment)} of segment "{segment.name}"'
    if subnet is None:
        return given if plain is not given else f'needs its prefix length, as {given}/24: segment "{segment.name}" has no subnets'  # type: ignore[return-value]
    if plain is not given and given.network != subnet:  # type: ignore[union-attr]
        return f'has another prefix length than {subnet} of segment "{segment.name}"'
    return ip_interface((plain, subnet.prefixlen))


def _listed(segment: Segment) -> str:
    return " and ".join(str(subnet.network) for subnet in segment.subnets)


def _refusal(interface: Interface, plug: Plug, book: Allotment) -> str | None:
    owner = book.taken.get((plug.segment.name, interface.ip))
    if owner == plug.name:
        return "is said twice"
    if owner is not None:
        return f"is {owner}'s in segment \"{plug.segment.name}\"" if owner == "the gateway" else f"is already that of {_quoted(owner)}"
    if interface.ip.is_multicast or interface.ip.is_unspecified or interface.ip.is_loopback or not _single(interface):
        return "is not an address that a machine can have"
    if plug.segment.mode == "bridged" and plug.segment.vlan is None:
        lab = lab_owner(book.document, interface.ip)
        return f"is {lab} in the lab" if lab else None
    return None


def _quoted(owner: str) -> str:
    return owner if owner.startswith("service ") else f'"{owner}"'


def _single(interface: Interface) -> bool:
    whole = interface.network
    return whole.max_prefixlen - whole.prefixlen < 2 or is_usable(interface.ip, whole)


def _derived(plug: Plug, book: Allotment) -> list[Interface]:
    """One address of each family that the file gives none of and the segment has a subnet of."""
    have = {interface.version for interface in book.given[plug.name]} | {address.version for _, address in plug.given}
    made = []
    for subnet in plug.segment.subnets:
        if subnet.network.version in have:
            continue
        have.add(subnet.network.version)
        address = _free(plug, subnet, book)
        if address is None:
            book.faults.add(plug.path, f"no address is left in {subnet.network}")
            continue
        book.taken[plug.segment.name, address] = plug.name
        made.append(ip_interface((address, subnet.network.prefixlen)))
    return made


def _free(plug: Plug, subnet: Subnet, book: Allotment) -> Address | None:
    segment, network = plug.segment.name, subnet.network
    if isinstance(network, IPv6Network) and network.prefixlen == 64:
        formed = names.eui64(network, plug.mac)
        if (segment, formed) not in book.taken:
            return formed
    return _probe(network, plug.name, segment, book)


def _probe(network: Network, name: str, segment: str, book: Allotment) -> Address | None:
    """From the slot of the name upwards, and round."""
    slot = names.address_slot(network, name)
    size = min(network.num_addresses - 2, 1 << 32)
    for step in range(min(size, len(book.taken) + 1)):
        address: Address = network[1 + (slot + step) % size]
        if (segment, address) not in book.taken:
            return address
    return None
