"""What `plan` and `apply` share: a file against a store, as changes of intent, of flows and of hosts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from weft.agents.uplinks import WAS_PUT_BACK, uplinks, way
from weft.apps.compile import Compiler
from weft.apps.facts import expired, facts
from weft.apps.flow import Program
from weft.apps.why import switches
from weft.cli.details import detail
from weft.cli.stores import fabric_of, is_lab, lab_hosts
from weft.topology.errors import WeftError
from weft.topology.hostrow import from_json, to_json
from weft.topology.load import load
from weft.topology.model import Fabric, Host, Uplink
from weft.topology.objects import said, to_objects
from weft.topology.ovsdb import Client, Row
from weft.topology.questions import ask_agents
from weft.topology.resolve import resolve
from weft.topology.rows import host_rows
from weft.topology.store import Intent, Snapshot, read, states, wanted

HostRows = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A file that was read, checked and resolved."""

    fabric: Fabric
    intent: Intent

    @property
    def hosts(self) -> HostRows:
        return {host: {key: to_json(spec) for key, spec in row.items()} for host, row in host_rows(self.fabric).items()}


def propose(file: str, lab: bool | None = None) -> Proposal:
    """Raises WeftError with everything that is wrong with the file. `lab` None: whether it runs as one here."""
    document = load(file)
    as_lab = is_lab(str(getattr(document.spec, "fabric", ""))) if lab is None else lab
    fabric = resolve(document, as_lab)
    if as_lab and lab is None:
        fits(fabric, *lab_hosts(fabric.name), file)
    return Proposal(fabric, Intent(fabric.name, file, as_lab, to_objects(document)))


def fits(fabric: Fabric, made: Mapping[str, list[str]], lacp: Sequence[str], file: str) -> None:
    """Raises WeftError for hosts, NICs and wires that a lab which runs does not have: only `weft lab up` makes those.

    Ports of a switch that are a group of LACP's may choose another NIC than a host that speaks none of it.
    """
    lines = []
    for host in fabric.hosts.values():
        nics = [nic for uplink in host.uplinks.values() for nic in uplink.cables]
        if host.name not in made:
            lines.append(f'{host.source}: host "{host.name}" is not in the lab that runs')
        else:
            lines += [f'{host.source}: host "{host.name}" has no NIC {nic} in the lab that runs' for nic in nics if nic not in made[host.name]]
            lines += [line for uplink in host.uplinks.values() if (line := _unlike(host, uplink, lacp))]
    if lines:
        raise WeftError(*(f"{line}: weft lab down {fabric.name}, then weft lab up {file}" for line in lines))


def _unlike(host: Host, uplink: Uplink, lacp: Sequence[str]) -> str:
    """Where a bond's mode and its wire in the lab are not of one kind."""
    speaks = f"{host.name}/{uplink.name}" in lacp
    if speaks == (uplink.bond == "lacp"):
        return ""
    said = "LACP" if speaks else "no LACP"
    return f'{uplink.source}: host "{host.name}" uplink "{uplink.name}": bond {uplink.bond}, and its wire in the lab that runs speaks {said}'


@dataclass(frozen=True, slots=True)
class Changes:
    """As `weft plan --json` prints them."""

    intent: list[dict[str, str]]
    flows: dict[str, dict[str, int]]
    host: dict[str, list[dict[str, str]]]

    def __bool__(self) -> bool:
        return bool(self.intent or self.flows or self.host)


async def compare(client: Client, proposal: Proposal) -> Changes:
    """What the store holds against what is proposed. Raises WeftError where the store is another fabric's."""
    found, rows = await read(client), await wanted(client)
    mine(found, proposal)
    return Changes(_intent(found, proposal.intent), _flows(found, proposal.fabric), _hosts(rows, proposal.hosts))


async def in_steps(client: Client, proposal: Proposal, changes: Changes) -> tuple[Changes, list[str]]:
    """The same, with what the agents of the hosts say that they would do, in order; and the hosts that do not say it.

    Of those, and of what an agent need do nothing for, it names the objects that differ. What was put back `apply` tries again.
    """
    wants = proposal.hosts
    again = tried_again(await states(client), await wanted(client), wants)
    asked = sorted({*changes.host, *again})
    told = await ask_agents(client, {host: wants.get(host, {}) for host in asked})
    steps = {host: [*again.get(host, []), *(told.get(host) or changes.host.get(host, []))] for host in asked}
    return replace(changes, host=steps), [host for host in asked if host not in told]


def tried_again(said: HostRows, old: Mapping[str, Row], new: HostRows) -> dict[str, list[dict[str, str]]]:
    """By host: uplinks that the dead-man timer put back, and why, as far as the host would be reached in the way that was tried."""
    found: dict[str, list[dict[str, str]]] = {}
    for host, objects in said.items():
        before, after = (_ways(wants) for wants in (old[host]["wanted"] if host in old else {}, new.get(host, {})))
        reasons = {key: json.loads(text).get("reason", "") for key, text in objects.items() if key.startswith("uplink/")}
        for key, reason in reasons.items():
            if reason.startswith(WAS_PUT_BACK) and before.get(key) == after.get(key):
                found.setdefault(host, []).append({"action": "retry", "object": key, "detail": reason})
    return found


def _ways(wants: Mapping[str, str]) -> dict[str, str]:
    return {key: way(spec) for key, spec in uplinks({key: from_json(key, text) for key, text in wants.items()}).items()}


def mine(found: Snapshot, proposal: Proposal) -> None:
    if found.intent is not None and found.intent.fabric != proposal.fabric.name:
        raise WeftError(f'this store holds fabric "{found.intent.fabric}", the file says "{proposal.fabric.name}": give another --store')


def _intent(found: Snapshot, new: Intent) -> list[dict[str, str]]:
    old = found.intent.objects if found.intent else {}
    added = [{"action": "add", "object": path} for path in new.objects if path not in old]
    other = [path for path, (spec, _) in new.objects.items() if path in old and said(old[path][0]) != said(spec)]
    changed = [{"action": "change", "object": path} for path in other]
    return added + changed + [{"action": "remove", "object": path} for path in old if path not in new.objects]


def _flows(found: Snapshot, fabric: Fabric) -> dict[str, dict[str, int]]:
    now = datetime.now(UTC)
    old_fabric = fabric_of(found) if found.intent else None
    before = Compiler().compile(old_fabric, facts(found.states, expired(old_fabric, now))) if old_fabric else {}
    names = {dpid: f"{host}/{bridge}" for which in (old_fabric, fabric) if which for dpid, (host, bridge, _) in switches(which).items()}
    after = Compiler().compile(fabric, facts(found.states, expired(fabric, now)))
    counted = {names[dpid]: _count(before.get(dpid), after.get(dpid)) for dpid in before | after}
    return {name: counts for name, counts in counted.items() if any(counts.values())}


def _count(before: Program | None, after: Program | None) -> dict[str, int]:
    old, new = ({flow.identity: flow.cookie for flow in (program or Program()).flows()} for program in (before, after))
    return {
        "add": sum(identity not in old for identity in new),
        "change": sum(old.get(identity, cookie) != cookie for identity, cookie in new.items()),
        "remove": sum(identity not in new for identity in old),
    }


def _hosts(old: Mapping[str, Row], new: HostRows) -> dict[str, list[dict[str, str]]]:
    changes: dict[str, list[dict[str, str]]] = {}
    for host in sorted(old.keys() | new.keys()):
        before: Mapping[str, str] = old[host]["wanted"] if host in old else {}
        after = new.get(host, {})
        verbs = {key: _verb(before.get(key), after.get(key)) for key in (*after, *(key for key in before if key not in after))}
        actions = [
            {"action": verb, "object": key, "detail": detail(from_json(key, after.get(key) or before[key]))}
            for key, verb in verbs.items()
            if verb
        ]
        if actions:
            changes[host] = actions
    return changes


def _verb(before: str | None, after: str | None) -> str:
    if before == after:
        return ""
    return "add" if before is None else "remove" if after is None else "change"
