"""The address of an uplink that the wire's own DHCP gives, or the fabric file. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from weft.agents import steps as s
from weft.agents.observed import HERE, Observed
from weft.agents.steps import Action
from weft.topology.hostrow import Spec, UplinkSpec

DHCP = "dhcp"


def given(spec: UplinkSpec, seen: Observed) -> tuple[str, str | None] | None:
    """The address that the host should have on an uplink, in CIDR, and its gateway; None: what it has by itself, or none yet."""
    if spec.address in ("keep", "none"):
        return None
    if spec.address != DHCP:
        return spec.address, spec.gateway
    leased = seen.leased.get(spec.bridge)
    return (leased.address, leased.gateway or None) if leased and leased.address else None


def asking(able: Mapping[str, Spec], wanted: Mapping[str, Spec], seen: Observed) -> Iterator[Action]:
    """Clients where the address is DHCP's, once the uplink carries packets, and nowhere else; addresses that are not leased any more go."""
    asked = {spec.bridge for spec in wanted.values() if isinstance(spec, UplinkSpec) and spec.address == DHCP}
    instead = {spec.bridge for spec in wanted.values() if isinstance(spec, UplinkSpec) and spec.address not in (DHCP, "keep")}
    for bridge in sorted(seen.leased.keys() - asked):
        yield from _dropped((seen.leased[bridge].address,) if bridge in instead else (), bridge, seen)
        yield Action("remove", bridge, "DHCP client", s.StopAsking(bridge))
    for key, spec in able.items():
        if not isinstance(spec, UplinkSpec) or spec.address != DHCP:
            continue
        local, leased = seen.links.get(HERE, {}).get(spec.bridge), seen.leased.get(spec.bridge)
        if local is not None and local.up and spec.bridge in seen.based and (leased is None or not leased.hears):
            yield Action("add", spec.bridge, "DHCP client", s.AskAddress(spec.bridge), key)
        yield from _dropped(leased.former if leased else (), spec.bridge, seen, key)


def _dropped(addresses: Iterable[str], bridge: str, seen: Observed, key: str = "") -> Iterator[Action]:
    local = seen.links.get(HERE, {}).get(bridge)
    for address in addresses:
        if local is not None and address in local.addresses:
            yield Action("remove", address, f"from {bridge}: not leased any more", s.DropAddress(bridge, address), key)


def unanswered(spec: UplinkSpec, seen: Observed) -> str:
    """Why an uplink has no address yet that it asks for; empty: it has, or does not ask."""
    if spec.address != DHCP or given(spec, seen):
        return ""
    return f"no DHCP server on {spec.name} has answered yet"
