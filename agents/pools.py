"""libvirt's pools: what each can give as things are. Pure.

A pool of a card has those of its virtual functions that the file gives to nobody, less those that somebody took past the pool: libvirt would
give these away too, and take them from whoever has them. A pool of macvtaps has as many as are asked for, once there is what they are on.
"""

from collections.abc import Mapping
from dataclasses import replace

from weft.agents.direct import direct_failures
from weft.agents.observed import HERE, Observed
from weft.topology.hostrow import CardSpec, NetworkSpec, Spec, VfSpec
from weft.topology.libvirt_xml import with_functions

Wanted = Mapping[str, Spec]


def whole(spec: NetworkSpec, wanted: Wanted, seen: Observed) -> NetworkSpec:
    """A network with all that its definition says: of a card's with the virtual functions that it gives."""
    if not spec.nic or spec.lower:
        return spec
    return replace(spec, xml=with_functions(spec.xml, _functions(spec, wanted, seen)))


def nothing_to_give(spec: NetworkSpec, wanted: Wanted, seen: Observed) -> tuple[str, str] | None:
    """State and reason of a pool that has nothing as things are; None: it has something, or is no pool."""
    if not spec.nic:
        return None
    below = {key: wanted[key] for key in (f"lower/{spec.lower}" if spec.lower else f"card/{spec.nic}",)}
    failed = next(iter(direct_failures(below, seen).values()), None)
    if failed:
        return failed
    if spec.lower:
        return None if spec.lower in seen.links.get(HERE, {}) else ("waiting", f"{spec.lower} is not there yet")
    return _without_functions(spec, wanted, seen)


def _without_functions(spec: NetworkSpec, wanted: Wanted, seen: Observed) -> tuple[str, str] | None:
    card, there = wanted[f"card/{spec.nic}"], seen.cards[spec.nic].functions if spec.nic in seen.cards else ()
    assert isinstance(card, CardSpec)
    if len(there) != card.vfs:
        return "waiting", f"{len(there)} of the {card.vfs} virtual functions of {spec.nic} are there"
    if not _functions(spec, wanted, seen):
        return "waiting", f"no virtual function of {spec.nic} is free: guests of the file have them, or somebody else (weft show nics)"
    return None


def _functions(spec: NetworkSpec, wanted: Wanted, seen: Observed) -> list[str]:
    """PCI addresses of what it gives, and has given."""
    given = {other.number for other in wanted.values() if isinstance(other, VfSpec) and other.nic == spec.nic}
    own = seen.virt.networks.get(spec.name) if seen.virt else None
    lent = own.lent if own else {}
    there = seen.cards[spec.nic].functions if spec.nic in seen.cards else ()
    return [each.pci for each in there if each.number not in given and (not each.busy or each.pci in lent)]
