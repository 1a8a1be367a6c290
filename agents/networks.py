"""What libvirt should have for a fabric, and what is to be done until it does. Pure.

A network without our mark is never touched. One that runs is not stopped while a guest is plugged into it: the guest would lose its port,
and not get it back. What a network says matters only to guests that are plugged in later.
"""

from collections.abc import Iterator, Mapping, Set

from weft.agents import steps as s
from weft.agents.observed import HERE, Observed, Virt
from weft.agents.pools import nothing_to_give, whole
from weft.agents.steps import Action
from weft.topology.hostrow import LibvirtObject, LibvirtSpec, NetworkSpec, Spec
from weft.topology.libvirt_xml import Mark, mark_of, same

Specs = Mapping[str, Spec]


def networks(fabric: str, wanted: Specs, able: Specs, seen: Observed) -> Iterator[Action]:
    """For the networks that can be had; ours that are not `wanted` any more go, once nobody is in them."""
    if seen.virt is None or seen.virt.reason:
        return
    for key, spec in able.items():
        if isinstance(spec, NetworkSpec):
            yield from _network(key, whole(spec, wanted, seen), seen.virt)
    for name in _unwanted(fabric, wanted, seen.virt):
        if not seen.virt.users(name):
            yield Action("remove", name, "libvirt network", s.RemoveNetwork(name))


def _network(key: str, spec: NetworkSpec, virt: Virt) -> Iterator[Action]:
    found, about = virt.networks.get(spec.name), f"libvirt network of {_whose(spec)}"
    if found is None or not found.defined or not same(spec.xml, found.defined):
        yield Action("change" if found else "add", spec.name, about, s.DefineNetwork(spec.name, spec.xml), key)
    if found is None or found.live is None:
        yield Action("change", spec.name, "it starts", s.StartNetwork(spec.name), key)
    elif not same(spec.xml, found.live) and not virt.users(spec.name):
        yield Action("change", spec.name, "it starts again: nobody is in it", s.StartNetwork(spec.name, again=True), key)
    if found is None or not found.autostart:
        yield Action("change", spec.name, "it starts with libvirt", s.KeepNetwork(spec.name), key)


def _whose(spec: NetworkSpec) -> str:
    if spec.nic:
        return f"macvtaps on {spec.lower}" if spec.lower else f"virtual functions of {spec.nic}"
    return f"segment {spec.segment}"


def _unwanted(fabric: str, wanted: Specs, virt: Virt) -> Iterator[str]:
    meant = {spec.name for spec in wanted.values() if isinstance(spec, NetworkSpec)}
    for name, network in virt.networks.items():
        mark = mark_of(network.defined or network.live or "<network/>")
        if mark and mark.fabric == fabric and name not in meant:
            yield name


def refused_networks(fabric: str, wanted: Specs, seen: Observed) -> dict[str, tuple[str, str]]:
    """What of libvirt cannot be had as things are: state and reason by object."""
    found: dict[str, tuple[str, str]] = {}
    for key, spec in wanted.items():
        if isinstance(spec, LibvirtObject) and (why := _complaint(fabric, spec, seen)):
            found[key] = "failed", why
        elif isinstance(spec, NetworkSpec) and (lacks := nothing_to_give(spec, wanted, seen)):
            found[key] = lacks
    return found


def _complaint(fabric: str, spec: LibvirtObject, seen: Observed) -> str:
    if seen.virt is None or seen.virt.reason:
        return seen.virt.reason if seen.virt else "libvirt was not asked yet"
    found = seen.virt.networks.get(spec.name) if isinstance(spec, NetworkSpec) else None
    if found is None or isinstance(spec, LibvirtSpec):
        return ""
    mark = mark_of(found.defined or found.live or "<network/>")
    if mark is None:
        return f"libvirt has a network {spec.name} that is not weft's: virsh net-destroy {spec.name}, virsh net-undefine {spec.name}"
    return "" if mark == Mark(fabric, spec.segment, spec.nic) else f"libvirt's network {spec.name} is {mark}"


def libvirt_state(spec: LibvirtObject, wanted: Specs, seen: Observed) -> tuple[str, str]:
    """Of what is not refused."""
    assert seen.virt is not None
    if isinstance(spec, LibvirtSpec):
        stay = [f"{name} ({', '.join(seen.virt.users(name))})" for name in _unwanted(spec.fabric, wanted, seen.virt)]
        return "wired", f"networks that stay as long as guests are in them: {', '.join(stay)}" if stay else ""
    found = seen.virt.networks.get(spec.name)
    if found is None or found.live is None:
        return "waiting", "libvirt has not started it yet"
    if not same(whole(spec, wanted, seen).xml, found.live):
        return "wired", f"its new definition holds once {', '.join(seen.virt.users(spec.name))} left it"
    return "wired", ""


def left_over(bridges: Set[str], seen: Observed) -> Iterator[Action]:
    """Ports that libvirt added for guests that are gone, with their devices: it and they were killed at once, and nobody took them away."""
    if seen.virt is None or seen.virt.reason:
        return
    for port in seen.ports.values():
        domain = seen.virt.domains.get(port.vm)
        gone = port.name not in seen.links.get(HERE, {}) and not (domain and domain.alive)
        if port.vm and not port.ours and port.bridge in bridges and gone:
            yield Action("remove", port.name, f"port of {port.bridge}: its guest is gone", s.RemovePort(port.bridge, port.name))
