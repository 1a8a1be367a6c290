"""What cannot be had of a guest that hangs on a NIC itself: whatever flows of `br-weft` do for others.

A switch decides for the one who is asked, and for the one who asks only where the packet leaves the fabric (`weft.apps.policies`). So a
virtual function or a macvtap may be at the other end of any policy, and at no end where it would have to be held to one itself.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from weft.topology.check_names import known
from weft.topology.direct import at, called, direct, numbers, on
from weft.topology.document import Document, Faults
from weft.topology.model import Endpoint, Host, Segment
from weft.topology.model_rules import Party, Policy
from weft.topology.resolve_rules import kilobits
from weft.topology.schema import AttachMacvtap, AttachVf, Nic
from weft.topology.terms import Interface, Network
from weft.topology.yaml12 import Path

Complaints = Iterator[tuple[Path, str]]

MEGABIT = 1000
"""Kilobits: a virtual function's rate is told in whole megabits (ip-link(8), max_tx_rate)."""


def check_direct(document: Document, lab: bool, faults: Faults) -> None:
    for path, guest in document.items("guests"):
        for place, nic in enumerate(guest.nics):
            for key, what in _nic(document, nic) if direct(nic) else ():
                faults.add((*path, "nics", place, key), what)
    for path, host in document.items("hosts"):
        for name in host.sriov if lab else ():
            faults.add((*path, "sriov", name), f'a lab has no virtual functions, and "{name}" is to have some: they need a real card')
    for path, what in (*_too_many(document), *_shared(document), *_limits(document), *_mirrors(document)):
        faults.add(path, what)


def _nic(document: Document, nic: Nic) -> Iterator[tuple[str, str]]:
    kind = called(nic)
    if nic.trunk is not None:
        yield "trunk", f"a trunk needs a port of the bridge, and a {kind} is none: give it a segment"
    segment = document.spec.segments.get(nic.segment or "")
    if segment is None:
        return
    if segment.mode != "bridged":
        what = f'a {kind} is on the wire itself, and segment "{nic.segment}" is {segment.mode}: only a bridged one is there'
        yield "attach", what
    for what in unheld(document, nic.segment or ""):
        yield "attach", f"{what}, which nothing holds a {kind} to: no flow sees its packets"


def unheld(document: Document, name: str) -> Iterator[str]:
    """What a segment is that only flows can make it."""
    segment = document.spec.segments[name]
    for key, word, asked in (
        ("private", "private", segment.private),
        ("policy", "closed", segment.policy == "closed"),
        ("qinq", "of guests with tags of their own (qinq)", segment.qinq),
    ):
        if asked:
            yield f'segment "{name}" is {word} (line {document.line("segments", name, key)})'


def _too_many(document: Document) -> Complaints:
    chosen = numbers(document)
    for (host, name), users in on(document).items():
        card = document.spec.hosts[host].sriov.get(name) if host in document.spec.hosts else None
        for user in users if card else ():
            assert card is not None
            guest, place = user
            if isinstance(document.spec.guests[guest].nics[place].attach, AttachVf) and user not in chosen:
                has = f'"{name}" of host "{host}" is to have {card.vfs} (line {document.line("hosts", host, "sriov", name, "vfs")})'
                lines = ", ".join(str(document.line(*at(other))) for other in users if other in chosen)
                yield (*at(user), "attach"), f"no virtual function is left: {has}" + (f", taken on line {lines}" if lines else "")


def _shared(document: Document) -> Complaints:
    """A NIC in passthrough has one owner."""
    for (_, name), users in on(document).items():
        modes = {user: a.mode for user in users if isinstance(a := document.spec.guests[user[0]].nics[user[1]].attach, AttachMacvtap)}
        first = next(iter(modes), None)
        for user, mode in modes.items():
            if first and user != first and "passthrough" in (mode, modes[first]):
                what = f'"{name}" carries {first[0]}.eth{first[1]} (line {document.line(*at(first))}), and passthrough has one owner'
                yield (*at(user), "attach"), what


def _limits(document: Document) -> Complaints:
    for path, qos in document.items("qos"):
        nic = known(document).endpoints.get(qos.endpoint)
        if nic is None or not direct(nic):
            continue
        said = f'"{qos.endpoint}" is a {called(nic)} (line {_line(document, qos.endpoint)})'
        if isinstance(nic.attach, AttachMacvtap):
            yield path, f"{said}: no flow sees its packets, so nothing limits or marks them"
            continue
        for key, asked in (("direction", qos.direction == "in"), ("burst", qos.burst), ("dscp", qos.dscp is not None)):
            if asked:
                yield (*path, key), f"{said}: a card limits the rate of what it sends, and does nothing of {key}"
        if qos.rate and kilobits(qos.rate) % MEGABIT:
            yield (*path, "rate"), f"{said}: a card counts in whole mbit, and {qos.rate} is none"


def _mirrors(document: Document) -> Complaints:
    for path, mirror in document.items("mirrors"):
        for key, name in (("from", mirror.source), ("to", mirror.to)):
            nic = known(document).endpoints.get(name or "")
            if nic and direct(nic):
                yield (*path, key), f'"{name}" is a {called(nic)} (line {_line(document, str(name))}): no flow sees or copies its packets'


def _line(document: Document, endpoint: str) -> int:
    guest, _, nic = endpoint.partition(".")
    return document.line("guests", guest, "nics", int(nic.partition(".")[0].removeprefix("eth")))


# ---- policies


@dataclass(frozen=True, slots=True)
class Around:
    """What a party is judged by."""

    segments: Mapping[str, Segment]
    endpoints: Mapping[str, Endpoint]
    hosts: Mapping[str, Host]


@dataclass(frozen=True, slots=True)
class Unseen:
    """Whose packets no flow sees: an endpoint of the file, or whoever gets a NIC in a segment out of a pool."""

    said: str
    who: str
    segment: str
    endpoint: str = ""
    addresses: tuple[Interface, ...] = ()
    """Empty: any."""


def check_held(document: Document, policies: Iterable[Policy], around: Around, faults: Faults) -> None:
    """Policies that what is unseen would have to be held to itself. (Services are on no bridged segment.)"""
    unseen = list(_unseen(around))
    for (path, _), policy in zip(document.items("policies"), policies, strict=True):
        for each in unseen:
            if _means(policy.receiver, each, around) and _meets(policy.sender, around):
                faults.add((*path, "to"), f"nothing holds {each.said} to it: no flow sees what {each.who} gets")
            elif _means(policy.sender, each, around) and _leaves(policy.receiver, around):
                faults.add((*path, "from"), f"nothing holds {each.said} to it: no flow sees what {each.who} sends")
            elif key := _nameless(policy, each, around):
                lacks = f'has no address that a switch could know it by: give segment "{each.segment}" subnets'
                faults.add((*path, key), f"{key} {each.segment}: {each.said} {lacks}")


def _nameless(policy: Policy, unseen: Unseen, around: Around) -> str:
    """Whether it is the sender or the receiver that a switch would have to know by an address, in a segment whose addresses nobody knows;
    of endpoints that is found with all others (`weft.topology.check_policies`)."""
    if unseen.endpoint or around.segments[unseen.segment].subnets:
        return ""
    met = [{around.endpoints[name].segment for name in party.endpoints or ()} for party in (policy.receiver, policy.sender)]
    if policy.sender.segment == unseen.segment and unseen.segment in met[0]:
        return "from"
    behind = {*met[1], policy.sender.segment} - {None}
    return "to" if policy.receiver.segment == unseen.segment and any(around.segments[name].mode == "nat" for name in behind if name) else ""


def _unseen(around: Around) -> Iterator[Unseen]:
    for each in around.endpoints.values():
        if each.direct:
            kind = "a virtual function" if each.attach == "vf" else "a macvtap"
            said = f'endpoint "{each.name}", {kind} (line {each.source.line}),'
            yield Unseen(said, "it", each.segment, each.name, each.addresses)
    for host in around.hosts.values():
        for pool in host.pools:
            said = f'whoever gets a NIC out of the pool of "{pool.nic}" on host "{host.name}" (line {pool.source.line})'
            yield from (Unseen(said, "such a guest", segment) for segment in pool.segments)


def _means(party: Party, unseen: Unseen, around: Around) -> bool:
    """Whether a party can be it. What has no known address can have any that is no hidden guest's."""
    if party.network is not None:
        own = [interface.ip in party.network for interface in unseen.addresses]
        return any(own) if own else not _hidden(party.network, around)
    return party.word == "any" or party.segment == unseen.segment or unseen.endpoint in (party.endpoints or ())


def _meets(party: Party, around: Around) -> bool:
    """Whether a sender comes by the wire as itself. What is translated was judged before that, and what is isolated does not come."""
    if party.network is not None:
        return not _hidden(party.network, around)
    there = [party.segment] if party.segment else [around.endpoints[name].segment for name in party.endpoints or ()]
    return _on_the_wire(party, around) or any(around.segments[name].mode in ("bridged", "routed") for name in there)


def _leaves(party: Party, around: Around) -> bool:
    """Whether a receiver can be beyond the fabric, where the sender's side alone decides."""
    if party.network is not None:
        return not any(_inside(party.network, subnet.network) for segment in around.segments.values() for subnet in segment.subnets)
    return _on_the_wire(party, around)


def _on_the_wire(party: Party, around: Around) -> bool:
    return bool(party.word) or party.said in around.hosts


def _hidden(network: Network, around: Around) -> bool:
    """Whether a network is one of guests that nobody meets as themselves on a wire."""
    hidden = [segment for segment in around.segments.values() if segment.mode in ("nat", "isolated")]
    return any(_inside(network, subnet.network) for segment in hidden for subnet in segment.subnets)


def _inside(network: Network, subnet: Network) -> bool:
    return network.version == subnet.version and network.subnet_of(subnet)  # type: ignore[arg-type]
