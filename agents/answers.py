"""Which dnsmasq should run on a host, and what is to be done until it does. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from weft.agents.dnsmasq_files import conf, files
from weft.agents.observed import Answering, Observed
from weft.agents.service_steps import Answer, StopAnswering
from weft.agents.steps import Action
from weft.agents.strangers import strangers
from weft.topology.hostrow import DhcpSpec, ServiceSpec, Spec


def answers(wanted: Mapping[str, Spec], able: Mapping[str, Spec], seen: Observed, namespace: str) -> Iterator[Action]:
    """One for each segment that has something to say, after its service port is there; those of other segments end."""
    for spec in able.values():
        service = able.get(f"service/{spec.segment}") if isinstance(spec, DhcpSpec) else None
        if isinstance(spec, DhcpSpec) and isinstance(service, ServiceSpec) and needed(spec, wanted, seen):
            yield from _answer(spec, service.mac, seen, namespace)
    for segment in seen.answering:
        asked = wanted.get(f"dhcp/{segment}")
        if not (isinstance(asked, DhcpSpec) and needed(asked, wanted, seen)):
            yield Action("remove", f"dnsmasq of {segment}", "it ends", StopAnswering(segment))


def needed(spec: DhcpSpec, wanted: Mapping[str, Spec], seen: Observed) -> bool:
    """Somebody is there to ask: of the model, or plugged in by hand or by libvirt."""
    return spec.inhabited or any(port.profile == spec.segment for port in strangers(wanted, seen))


def _answer(spec: DhcpSpec, mac: str, seen: Observed, namespace: str) -> Iterator[Action]:
    found, key = seen.answering.get(spec.segment), f"service/{spec.segment}"
    owners = {address: guest.split()[0] for guest in spec.guests for address in guest.split()[2:]}
    step = Answer(namespace, spec.segment, conf(spec), files(spec, seen.resolvers), owners, mac)
    about = f"dnsmasq of {spec.segment}"
    if found is None:
        yield Action("add", about, f"on {spec.inside}", step, key)
    elif found.started_with != step.started_with:
        yield Action("change", about, "another configuration, or another interface: it starts again", step, key)
    elif taken := _taken(found, owners):
        yield Action("change", about, f"{taken} is a guest's now and leased to another: it starts again", step, key)
    elif found.read != step.read:
        yield Action("change", about, "it reads its guests again", replace(step, again=True), key)


def _taken(found: Answering, owners: Mapping[str, str]) -> str:
    """An address that was leased to somebody before it became a guest's."""
    return next((one.address for one in found.leases if one.mac and owners.get(one.address, one.mac) != one.mac), "")
