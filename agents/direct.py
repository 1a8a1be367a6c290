"""Guests that hang on a NIC itself: its virtual functions (SR-IOV) and macvtaps on it, from what should be to what is to be done.

A card of the fabric file is weft's with all its functions: their number, and what each is held to. The number changes only while nobody
uses one. A function that no guest has is held to nothing, and to nobody's VLAN or MAC; one that a virtual machine got from elsewhere (a
pool of libvirt's, which sets it up itself) is left alone, also where the file has it for somebody else by now.
"""

from collections.abc import Iterator, Mapping

from weft.agents import steps as s
from weft.agents.observed import HERE, Function, Link, Observed
from weft.agents.steps import Action
from weft.topology.hostrow import CardSpec, DirectSpec, LowerSpec, MacvtapSpec, Spec, VfSpec
from weft.topology.names import vlan_device

NOBODY = "00:00:00:00:00:00"

Wanted = Mapping[str, Spec]


def direct_links(wanted: Wanted, seen: Observed) -> set[str]:
    """Names of the links that should be there, and of VLANs below somebody's macvtap, who would lose it with them."""
    specs = [spec for spec in wanted.values() if isinstance(spec, MacvtapSpec | LowerSpec)]
    here = seen.links.get(HERE, {}).values()
    below = {link.over for link in here if not link.ours}
    carrying = {link.name for link in here if link.ours.startswith("vlan/") and link.index in below}
    ports = {spec.port for spec in specs if isinstance(spec, MacvtapSpec)}
    return ports | carrying | {vlan_device(spec.nic, spec.vlan) for spec in specs if spec.vlan}


def direct_failures(wanted: Wanted, seen: Observed) -> dict[str, tuple[str, str]]:
    """What cannot be had as things are, in the user's words."""
    found = {key: _failure(spec, wanted, seen) for key, spec in wanted.items() if isinstance(spec, DirectSpec)}
    return {key: ("failed", why) for key, why in found.items() if why}


def _failure(spec: DirectSpec, wanted: Wanted, seen: Observed) -> str:
    if spec.nic not in seen.links.get(HERE, {}):
        return f"NIC {spec.nic} does not exist"
    if isinstance(spec, MacvtapSpec | LowerSpec):
        bridge = seen.ports[spec.nic].bridge if spec.nic in seen.ports else ""
        return f"NIC {spec.nic} is in bridge {bridge}, where it carries no macvtap: take it out" if bridge else ""
    if isinstance(spec, VfSpec):
        card = wanted.get(f"card/{spec.nic}")
        return _failure(card, wanted, seen) if isinstance(card, CardSpec) else ""
    return _card_failure(spec, seen)


def _card_failure(spec: CardSpec, seen: Observed) -> str:
    total, functions = (seen.cards[spec.nic].total, seen.cards[spec.nic].functions) if spec.nic in seen.cards else (0, ())
    if spec.vfs > total:
        has = f"has {total} virtual functions at most" if total else "has no virtual functions: no such card, or off in its firmware"
        return f"NIC {spec.nic} {has}, and {spec.vfs} are asked for"
    busy = next((function for function in functions if function.busy), None)
    if len(functions) != spec.vfs and busy:
        used = f"number {busy.number} ({busy.pci}) is in use: {_user(busy, seen)}"
        return f"NIC {spec.nic} has {len(functions)} virtual functions and is to have {spec.vfs}, but {used}"
    return ""


def direct_actions(able: Wanted, seen: Observed) -> Iterator[Action]:
    yield from _nics(able, seen)
    yield from _functions(able, seen)
    made: set[str] = set()
    for key, spec in able.items():
        if isinstance(spec, MacvtapSpec | LowerSpec) and spec.vlan:
            yield from _vlan(key, spec, seen, made)
        if isinstance(spec, MacvtapSpec):
            yield from _macvtap(key, spec, seen, made)


def _nics(able: Wanted, seen: Observed) -> Iterator[Action]:
    """Up, and as large as what is on them needs; an uplink's NIC is the uplink's business besides."""
    here, told = seen.links.get(HERE, {}), set[str]()
    for key, spec in able.items():
        if not isinstance(spec, DirectSpec) or spec.nic in told:
            continue
        least = [other.mtu for other in able.values() if isinstance(other, MacvtapSpec | LowerSpec) and other.nic == spec.nic]
        mtu = max([here[spec.nic].mtu, *least])
        told.add(spec.nic)
        if not here[spec.nic].up or here[spec.nic].mtu != mtu:
            yield Action("change", spec.nic, f"up, mtu {mtu}", s.SetUp(spec.nic, mtu), key)


# ---- macvtaps


def _vlan(key: str, spec: MacvtapSpec | LowerSpec, seen: Observed, made: set[str]) -> Iterator[Action]:
    """`made`: the VLANs that this plan makes, once each."""
    here, lower = seen.links.get(HERE, {}), vlan_device(spec.nic, spec.vlan)
    found = here.get(lower)
    if lower in made:
        return
    if not found or found.ours != f"vlan/{lower}" or found.over != here[spec.nic].index:
        made.add(lower)
        yield Action("add", lower, f"VLAN {spec.vlan} of {spec.nic}", s.MakeVlan(lower, spec.nic, spec.vlan, spec.mtu), key)
    elif not found.up or found.mtu != spec.mtu:
        yield Action("change", lower, f"up, mtu {spec.mtu}", s.SetUp(lower, spec.mtu), key)


def _macvtap(key: str, spec: MacvtapSpec, seen: Observed, made: set[str]) -> Iterator[Action]:
    here, lower = seen.links.get(HERE, {}), vlan_device(spec.nic, spec.vlan) if spec.vlan else spec.nic
    if lower in made or not _is_made(key, spec, here, lower):
        step = s.MakeMacvtap(spec.port, spec.index, lower, spec.mode, spec.mac, spec.mtu)
        yield Action("add", spec.port, f"macvtap on {lower}, {spec.mode}", step, key)
    elif here[spec.port].mtu != spec.mtu:
        yield Action("change", spec.port, f"mtu {spec.mtu}", s.SetUp(spec.port, spec.mtu), key)


def _is_made(key: str, spec: MacvtapSpec, here: Mapping[str, Link], lower: str) -> bool:
    found = here.get(spec.port)
    meant = (True, key, spec.mode, spec.mac, here[lower].index if lower in here else 0)
    return found is not None and (found.up, found.ours, found.mode, found.mac, found.over) == meant


# ---- virtual functions


def _functions(able: Wanted, seen: Observed) -> Iterator[Action]:
    """A card whose number cannot be had now stays as it is: who has which of its functions follows from that number."""
    users = {(spec.nic, spec.number): (key, spec) for key, spec in able.items() if isinstance(spec, VfSpec)}
    macs = {spec.mac: place for place, (_, spec) in users.items()}
    counts = {spec.nic: (key, spec.vfs) for key, spec in able.items() if isinstance(spec, CardSpec)}
    for nic, card in seen.cards.items():
        if nic not in counts:
            continue
        key, count = counts[nic]
        if len(card.functions) != count:
            yield Action("change", nic, f"{count} virtual functions", s.SetFunctions(nic, count), key)
            continue
        for function in card.functions:
            owner, user = users.get((nic, function.number), (key, None))
            elsewhere = macs.get(function.mac, (nic, function.number)) != (nic, function.number)
            left_alone = user is None and not elsewhere and function.busy
            if settings := () if left_alone or _elses(function, user, seen) else _settings(function, user, elsewhere):
                rebind = any(name == "mac" for name, _ in settings) and bool(function.netdev) and not function.busy
                detail = ", ".join(f"{name} {value}" for name, value in settings)
                yield Action("change", _called(nic, function), detail, s.SetFunction(nic, function.number, settings, rebind), owner)


def _elses(function: Function, user: VfSpec | None, seen: Observed) -> str:
    """Who has a function out of a pool, in words: it stays as libvirt set it. In doubt as well: libvirt does not answer."""
    borrower = seen.virt.borrower(function.pci) if seen.virt else ""
    if borrower:
        return f"libvirt gave it to guest {borrower} out of its pool"
    doubtful = user is not None and function.busy and function.mac != user.mac and seen.virt is not None
    return f"{function.busy}, and whose that is libvirt does not say: {seen.virt.reason}" if doubtful and seen.virt and seen.virt.reason else ""


def _user(function: Function, seen: Observed) -> str:
    """Who uses a function, by name where libvirt knows it."""
    owner = seen.virt.owner(function.pci) if seen.virt else ""
    return f"guest {owner} has it" if owner else function.busy


def _called(nic: str, function: Function) -> str:
    return f"{nic} VF {function.number}"


def _settings(function: Function, user: VfSpec | None, elsewhere: bool) -> tuple[tuple[str, str | int], ...]:
    """What is other than it should be. A MAC that is nobody's is left to the function, unless a guest has it by another."""
    mac = user.mac if user else NOBODY if elsewhere else function.mac
    vlan, rate, trusted = (user.vlan, user.rate, user.trusted) if user else (0, 0, False)
    meant: dict[str, tuple[str | int | None, str | int]] = {
        "mac": (function.mac, mac),
        "vlan": (function.vlan, vlan),
        "trust": (None if function.trust is None else int(function.trust), int(trusted)),
        "spoofchk": (None if function.spoofchk is None else int(function.spoofchk), int(not trusted)),
        "rate": (function.rate, rate),
        "link": (function.link, user.link if user else "auto"),
    }
    return tuple((name, wanted) for name, (there, wanted) in meant.items() if there is not None and there != wanted)


def _function(spec: VfSpec, seen: Observed) -> Function | None:
    functions = seen.cards[spec.nic].functions if spec.nic in seen.cards else ()
    return next((function for function in functions if function.number == spec.number), None)


# ---- what is reported


def direct_state(spec: DirectSpec, seen: Observed) -> tuple[str, str]:
    if isinstance(spec, MacvtapSpec):
        found = seen.links.get(HERE, {}).get(spec.port)
        return ("wired", "") if found and found.up and found.mode == spec.mode else ("waiting", f"macvtap {spec.port} is not there yet")
    if isinstance(spec, LowerSpec):
        return ("wired", "") if spec.name in seen.links.get(HERE, {}) else ("waiting", f"{spec.name} is not there yet")
    if isinstance(spec, CardSpec):
        there = len(seen.cards[spec.nic].functions) if spec.nic in seen.cards else 0
        return ("wired", _no_group(spec, seen)) if there == spec.vfs else ("waiting", f"{there} of its virtual functions are there")
    function = _function(spec, seen)
    if function is None:
        return "waiting", f"virtual function {spec.number} of {spec.nic} is not there yet"
    if elses := _elses(function, spec, seen):
        return "waiting", f"{_called(spec.nic, function)} is in use: {elses}"
    lacking = ", ".join(name for name, _ in _settings(function, spec, False))
    return ("waiting", f"{_called(spec.nic, function)} is not set yet: {lacking}") if lacking else ("wired", _not_held(function, spec))


def _not_held(function: Function, spec: VfSpec) -> str:
    """What the card's driver does not do, said where it would have been asked."""
    if function.spoofchk is None and not spec.trusted:
        return "its card checks no source addresses"
    return "its card knows no trust: it sends from its own MAC alone" if function.trust is None and spec.trusted else ""


def _no_group(spec: CardSpec, seen: Observed) -> str:
    bare = any(not function.group for function in seen.cards[spec.nic].functions) if spec.nic in seen.cards else False
    return "no IOMMU: its functions cannot be given to virtual machines, see weft doctor" if bare else ""


def direct_said(spec: DirectSpec, seen: Observed) -> Mapping[str, object]:
    """Beside state and reason: what a guest is to open, or to be given; of a card all functions."""
    if isinstance(spec, MacvtapSpec):
        return {"device": f"/dev/tap{spec.index}"} if spec.port in seen.links.get(HERE, {}) else {}
    if isinstance(spec, LowerSpec):
        return {}
    if isinstance(spec, VfSpec):
        function = _function(spec, seen)
        return {"device": " ".join(filter(None, (function.pci, function.netdev)))} if function else {}
    functions = seen.cards[spec.nic].functions if spec.nic in seen.cards else ()
    names = ("number", "pci", "group", "driver", "netdev", "mac", "vlan", "link")
    return {"functions": [{name: getattr(function, name) for name in names} | {"busy": _user(function, seen)} for function in functions]}
