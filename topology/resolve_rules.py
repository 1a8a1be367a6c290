"""Policies, services, mirrors, limits and collectors, with names as the endpoints and segments they stand for.

The document has no faults by now: every name exists, every number is in its range.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from weft.topology import names
from weft.topology.check_names import WORDS
from weft.topology.document import Document
from weft.topology.model import Endpoint, Segment
from weft.topology.model_rules import Mirror, Monitor, Party, Policy, Qos, Service, VirtualService
from weft.topology.shared import Shared

BITS = {"bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
SAMPLING = 64
"""One packet of so many, where the file does not say."""

Endpoints = Mapping[str, Endpoint]


def resolve_policies(document: Document, endpoints: Endpoints) -> tuple[Policy, ...]:
    return tuple(
        Policy(
            policy.name,
            "allow" if policy.allow else "deny" if policy.deny else "audit",
            service(policy.allow or policy.deny or policy.audit),
            party(policy.source, document, endpoints),
            party(policy.to, document, endpoints),
            policy.until,
            document.source(*path),
        )
        for path, policy in document.items("policies")
    )


def service(text: str) -> Service:
    """``tcp/3306``, ``udp/6000-6100``, ``icmp``, ``any``."""
    protocol, _, ports = text.partition("/")
    low, _, high = ports.partition("-")
    return Service(protocol, int(low), int(high or low)) if low else Service(protocol)  # type: ignore[arg-type]  # checked by the schema


def party(who: str | dict[str, str], document: Document, endpoints: Endpoints) -> Party:
    """Whom a ``from`` or a ``to`` means."""
    if isinstance(who, dict):
        said = "{" + ", ".join(f"{key}: {value}" for key, value in who.items()) + "}"
        guests = {name for name, guest in document.spec.guests.items() if who.items() <= guest.labels.items()}
        return Party(endpoints=_of_guests(guests, endpoints), said=said)
    if who in WORDS:
        return Party(word=who, said=who)  # type: ignore[arg-type]
    if who in document.spec.segments:
        return Party(segment=who, said=who)
    if who in endpoints or who in document.spec.guests:
        return Party(endpoints=(who,) if who in endpoints else _of_guests({who}, endpoints), said=who)
    if who in document.spec.hosts:
        return Party(endpoints=tuple(name for name, e in endpoints.items() if e.attach == "host" and e.host == who), said=who)
    return Party(network=ip_network(who), said=who)


def _of_guests(guests: set[str], endpoints: Endpoints) -> tuple[str, ...]:
    return tuple(name for name, endpoint in endpoints.items() if endpoint.guest in guests and endpoint.attach != "host")


def resolve_services(document: Document, shared: Shared, endpoints: Endpoints) -> Iterator[VirtualService]:
    ids = names.allot(f"service/{document.spec.fabric}", shared.places, 16)
    for path, given in document.items("services"):
        segment, address = shared.places[given.name]
        protocol, _, port = given.listen.partition("/")
        who = party(given.to, document, endpoints)
        named = who.endpoints if who.endpoints is not None else tuple(endpoints)
        members = tuple(name for name in named if endpoints[name].segment == segment and endpoints[name].attach != "host")
        yield VirtualService(
            name=given.name,
            id=ids[given.name],
            segment=segment,
            address=address,
            protocol=protocol,  # checked by `weft.topology.shared`
            port=int(port),
            to_port=given.port or int(port),
            members=members,
            sticky=given.sticky == "client",
            source=document.source(*path),
        )


def resolve_mirrors(document: Document, segments: Mapping[str, Segment]) -> tuple[Mirror, ...]:
    given = dict(document.items("mirrors"))
    taken = [segment.id for segment in segments.values()]
    ids = names.allot(f"mirror/{document.spec.fabric}", (mirror.name for mirror in given.values()), 24, taken)
    return tuple(Mirror(m.name, ids[m.name], m.source, m.to, m.vlan, document.source(*path)) for path, m in given.items())


def resolve_qos(document: Document) -> Iterator[Qos]:
    for number, (path, given) in enumerate(document.items("qos")):
        rate, burst = (kilobits(text) if text else None for text in (given.rate, given.burst))
        yield Qos(number, given.endpoint, given.direction, rate, burst, given.dscp, document.source(*path))


def kilobits(text: str) -> int:
    """``100mbit`` in kilobits, at least one: what an OpenFlow meter counts in."""
    digits = text.rstrip("bitkmg")
    return max(1, int(digits) * BITS[text[len(digits) :]] // 1000)


def resolve_monitor(document: Document) -> Monitor | None:
    given: Any = document.spec.monitor
    return Monitor(given.sflow, given.netflow, given.ipfix, given.sampling or SAMPLING) if given else None
