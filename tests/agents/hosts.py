"""A host in memory: small, and true enough that plans are carried out on it and observed again."""

from dataclasses import replace

from weft.agents import steps as s
from weft.agents.observed import (
    HERE,
    Answering,
    Bridge,
    Card,
    Function,
    Health,
    Leased,
    Link,
    Member,
    Monitoring,
    Network,
    Observed,
    Port,
    Virt,
)
from weft.agents.plan import Plan, Wanted, plan
from weft.agents.service_steps import Answer, LeaveHostWay, SetHostWay, SetServices, StopAnswering
from weft.agents.watching import BFD
from weft.topology import names

FABRIC, HOST, CONTROLLER = "test", "kvm1", "unix:/run/controller.sock"
NIC = Link("nic0", "", "0e:00:00:00:00:0a", 1500, True, "", ("203.0.113.11/24", "10.10.10.1/24"), (("default", "203.0.113.1"),))
FOREIGN = Link("docker0", "bridge", "0e:00:00:00:00:0b", 1500, True, "", ("172.17.0.1/16",))


class Host:
    """Starts with a NIC that has addresses, and a bridge, a port and a link that are somebody else's."""

    def __init__(self) -> None:
        self.links: dict[str, dict[str, Link]] = {HERE: {link.name: link for link in (NIC, FOREIGN)}}
        self.bridges = {"br-theirs": Bridge("br-theirs", False, 1, None, None, False, ("br-theirs", "vnet0"))}
        self.ports = {name: Port(name, "br-theirs", False, "", {}, 1, "") for name in ("br-theirs", "vnet0")}
        self.deaf: frozenset[str] = frozenset()
        self.based: dict[str, frozenset[str]] = {}
        self.services = self.host_way = ""
        self.datapath = "netdev"
        self.vlans = 1
        self.answering: dict[str, Answering] = {}
        self.totals: dict[str, int] = {}
        self.functions: dict[str, list[Function]] = {}
        self.resolvers: tuple[str, ...] = ("192.0.2.53",)
        self.leased: dict[str, Leased] = {}
        self.virt: Virt | None = None

    def observe(self) -> Observed:
        links = {space: dict(links) for space, links in self.links.items()}
        seen = Observed(self.datapath, dict(self.bridges), dict(self.ports), links, self.deaf, dict(self.based), self.services, self.host_way)
        seen = replace(seen, vlans=self.vlans, answering=dict(self.answering), resolvers=self.resolvers, leased=dict(self.leased))
        cards = {nic: Card(total, tuple(self.functions.get(nic, ()))) for nic, total in self.totals.items()}
        return replace(seen, virt=self.virt, cards=cards)

    def plan(self, wanted: Wanted) -> Plan:
        return plan(FABRIC, HOST, wanted, self.observe(), CONTROLLER)

    def converge(self, wanted: Wanted) -> list[s.Action]:
        """Plans and carries out until there is nothing left to do; what was done, in order."""
        done: list[s.Action] = []
        for _ in range(10):
            actions = self.plan(wanted).actions
            if not actions:
                return done
            for action in actions:
                self.do(action)
            done += actions
        raise AssertionError(f"does not converge: {actions}")

    def do(self, action: s.Action) -> None:
        getattr(self, f"_{type(action.step).__name__}")(action.step, action.key)

    def _AddBridge(self, step: s.AddBridge, key: str) -> None:
        self.bridges[step.name] = Bridge(step.name, True, step.dpid, step.controller, step.mac, True, (step.name,), step.unlearned)
        self.ports[step.name] = Port(step.name, step.name, True, "internal", {}, 0xFFFE, "")
        self.links[HERE][step.name] = Link(step.name, "", step.mac or "0e:00:00:00:00:0c", 1500, False, "")

    def _SetBridge(self, step: s.SetBridge, key: str) -> None:
        found = self.bridges[step.name]
        meant = replace(found, dpid=step.dpid, controller=step.controller, mac=step.mac, unlearned=step.unlearned)
        self.bridges[step.name] = replace(meant, settings=True)

    def _RemoveBridge(self, step: s.RemoveBridge, key: str) -> None:
        for name in self.bridges.pop(step.name).ports:
            self.ports.pop(name)
        del self.links[HERE][step.name]
        self.based.pop(step.name, None)

    def _AddPort(self, step: s.AddPort, key: str) -> None:
        there = step.kind or step.name in self.links[HERE]
        number, error = (len(self.ports), "") if there else (-1, f"could not open network device {step.name}")
        self.ports[step.name] = Port(step.name, step.bridge, True, step.kind, dict(step.options), number, error)
        bridge = self.bridges[step.bridge]
        self.bridges[step.bridge] = replace(bridge, ports=(*bridge.ports, step.name))
        if step.kind == "internal":
            self.links[HERE][step.name] = Link(step.name, "", "0e:00:00:00:00:0d", 1500, False, "")

    def _AddBond(self, step: s.AddBond, key: str) -> None:
        assert step.bridge in self.bridges
        assert step.nics
        assert not [port.name for nic in step.nics for port in self.ports.values() if port.holds(nic)]
        self._AddPort(s.AddPort(step.bridge, step.name, ""), key)
        self.ports[step.name] = replace(self.ports[step.name], ofport=len(self.ports), error="")
        self._SetBond(s.SetBond(step.name, step.mode, step.nics), key)

    def _SetBond(self, step: s.SetBond, key: str) -> None:
        members = tuple(Member(nic, number, "" if nic in self.links[HERE] else "gone", "up") for number, nic in enumerate(step.nics, 1))
        self.ports[step.name] = replace(self.ports[step.name], bond=step.mode, members=members)

    def _Settle(self, step: s.Settle, key: str) -> None:
        self.bridges[step.bridge] = replace(self.bridges[step.bridge], settled=step.spec)

    def _SeeTags(self, step: s.SeeTags, key: str) -> None:
        self.vlans = 0

    def _SetWatch(self, step: s.SetWatch, key: str) -> None:
        health = Health(bfd=BFD if step.kind == "bfd" else {}, mpid=step.mpid if step.kind == "cfm" else None)
        self.ports[step.name] = replace(self.ports[step.name], health=health)

    def _SetMonitor(self, step: s.SetMonitor, key: str) -> None:
        bridge = self.bridges[step.bridge]
        monitors = {**bridge.monitors, step.kind: Monitoring(True, dict(step.settings))}
        self.bridges[step.bridge] = replace(bridge, monitors=monitors)

    def _RemoveMonitor(self, step: s.RemoveMonitor, key: str) -> None:
        bridge = self.bridges[step.bridge]
        left = {kind: monitor for kind, monitor in bridge.monitors.items() if kind != step.kind}
        self.bridges[step.bridge] = replace(bridge, monitors=left)

    def _RemovePort(self, step: s.RemovePort, key: str) -> None:
        if self.ports.pop(step.name).kind == "internal":
            self.links[HERE].pop(step.name, None)
        bridge = self.bridges[step.bridge]
        self.bridges[step.bridge] = replace(bridge, ports=tuple(name for name in bridge.ports if name != step.name))

    def _BaseFlows(self, step: s.BaseFlows, key: str) -> None:
        assert step.bridge in self.bridges
        assert step.exit is None or step.exit in self.ports
        self.based[step.bridge] = self.based.get(step.bridge, frozenset()) | ({step.exit} if step.exit else set())

    def _MakeVeth(self, step: s.MakeVeth, key: str) -> None:
        self.links[HERE][step.name] = Link(step.name, "veth", "0e:00:00:00:00:0d", step.mtu, True, key)
        self.links.setdefault(step.namespace, {})[step.inside] = Link(step.inside, "veth", step.mac, step.mtu, False, "")

    def _MakeJoint(self, step: s.MakeJoint, key: str) -> None:
        ours = f"joint/{key.removeprefix('uplink/')}"
        bridge = self.links[HERE][step.bridge]
        assert bridge.mtu <= step.port_mtu, "the Linux bridge would get smaller"
        assert step.port_mac > bridge.mac, "the Linux bridge would get another MAC"
        self.links[HERE][step.port] = Link(step.port, "veth", step.port_mac, step.port_mtu, True, ours, master=step.bridge)
        self.links[HERE][step.name] = Link(step.name, "veth", "0e:00:00:00:00:0e", step.mtu, True, ours)

    def _Enslave(self, step: s.Enslave, key: str) -> None:
        assert self.links[HERE][step.name].mtu >= self.links[HERE][step.bridge].mtu, "the Linux bridge would get smaller"
        self.links[HERE][step.name] = replace(self.links[HERE][step.name], master=step.bridge)

    def _MakeTap(self, step: s.MakeTap, key: str) -> None:
        self.links[HERE][step.name] = Link(step.name, "tun", "0e:00:00:00:00:0e", step.mtu, True, key, opener=step.opener)

    def _MakeVlan(self, step: s.MakeVlan, key: str) -> None:
        self._above(Link(step.name, "vlan", "0e:00:00:00:00:0f", step.mtu, True, f"vlan/{step.name}", index=100 + step.vlan), step.nic)

    def _MakeMacvtap(self, step: s.MakeMacvtap, key: str) -> None:
        self._above(Link(step.name, "macvtap", step.mac, step.mtu, True, key, index=step.index, mode=step.mode), step.lower)

    def _above(self, link: Link, lower: str) -> None:
        assert self.links[HERE][lower].up
        self.links[HERE][link.name] = replace(link, over=self.links[HERE][lower].index)

    def _SetFunctions(self, step: s.SetFunctions, key: str) -> None:
        assert not any(function.busy for function in self.functions.get(step.nic, ()))
        made = (Function(number, f"0000:01:10.{number}", str(number), "", "", spoofchk=True, trust=False) for number in range(step.count))
        self.functions[step.nic] = list(made)

    def _SetFunction(self, step: s.SetFunction, key: str) -> None:
        found = self.functions[step.nic][step.number]
        flags = {"spoofchk", "trust"}
        changed = {name: bool(value) if name in flags else value for name, value in step.settings}
        self.functions[step.nic][step.number] = replace(found, **changed)  # type: ignore[arg-type]

    def _RemoveLink(self, step: s.RemoveLink, key: str) -> None:
        del self.links[HERE][step.name]
        if step.namespace in self.links:
            del self.links[step.namespace]

    def _SetInside(self, step: s.SetInside, key: str) -> None:
        routes = tuple(("default", gateway) for gateway in step.gateways)
        self.links[step.namespace][step.name] = Link(step.name, "veth", step.mac, step.mtu, True, "", step.addresses, routes)

    def _SetUp(self, step: s.SetUp, key: str) -> None:
        self.links[HERE][step.name] = replace(self.links[HERE][step.name], up=True, mtu=step.mtu)

    def _Deafen(self, step: s.Deafen, key: str) -> None:
        self.deaf = frozenset(name for name in step.names if name in self.links[HERE])

    def _MoveAddresses(self, step: s.MoveAddresses, key: str) -> None:
        source, target = self.links[HERE][step.source], self.links[HERE][step.target]
        addresses = tuple(dict.fromkeys((*target.addresses, *source.addresses)))
        self.links[HERE][step.target] = replace(target, up=True, addresses=addresses, routes=target.routes + source.routes)
        self.links[HERE][step.source] = replace(source, addresses=(), routes=())

    def _SetAddress(self, step: s.SetAddress, key: str) -> None:
        link = self.links[HERE][step.name]
        routes = (("default", step.gateway),) if step.gateway else ()
        self.links[HERE][step.name] = replace(link, up=True, addresses=(*link.addresses, step.address), routes=link.routes + routes)

    def _DropAddress(self, step: s.DropAddress, key: str) -> None:
        link = self.links[HERE][step.name]
        self.links[HERE][step.name] = replace(link, addresses=tuple(each for each in link.addresses if each != step.address))

    def _AskAddress(self, step: s.AskAddress, key: str) -> None:
        assert self.links[HERE][step.bridge].up
        self.leased[step.bridge] = Leased("198.51.100.7/24", "198.51.100.1", (), True)

    def _StopAsking(self, step: s.StopAsking, key: str) -> None:
        del self.leased[step.bridge]

    def _SetHostWay(self, step: SetHostWay, key: str) -> None:
        assert step.port in self.links[HERE]
        self.host_way = step.digest

    def _LeaveHostWay(self, step: LeaveHostWay, key: str) -> None:
        self.host_way = ""

    def _SetServices(self, step: SetServices, key: str) -> None:
        assert all(segment.inside in self.links[step.namespace] for segment in step.segments)
        self.services = step.digest

    def _Answer(self, step: Answer, key: str) -> None:
        """A process that only reads again must be one that was started with the same; leases outlive it."""
        found = self.answering.get(step.segment)
        assert names.service_port(step.segment) in self.links[step.namespace]
        assert not step.again or (found and found.started_with == step.started_with)
        kept = [lease for lease in found.leases if step.owners.get(lease.address, lease.mac) == lease.mac] if found else []
        self.answering[step.segment] = Answering(step.started_with, step.read, tuple(kept))

    def _StopAnswering(self, step: StopAnswering, key: str) -> None:
        del self.answering[step.segment]

    def _network(self, name: str, network: Network | None) -> None:
        assert self.virt is not None
        others = {key: found for key, found in self.virt.networks.items() if key != name}
        self.virt = replace(self.virt, networks=others | ({name: network} if network else {}))

    def _DefineNetwork(self, step: s.DefineNetwork, key: str) -> None:
        assert self.virt is not None
        found = self.virt.networks.get(step.name, Network("", None, False))
        xml = step.xml.replace("<metadata>", "<uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid><metadata>")
        self._network(step.name, replace(found, defined=xml))

    def _StartNetwork(self, step: s.StartNetwork, key: str) -> None:
        assert self.virt is not None and not (step.again and self.virt.users(step.name))
        found = self.virt.networks[step.name]
        self._network(step.name, replace(found, live=found.defined if step.again or found.live is None else found.live))

    def _KeepNetwork(self, step: s.KeepNetwork, key: str) -> None:
        assert self.virt is not None
        self._network(step.name, replace(self.virt.networks[step.name], autostart=True))

    def _RemoveNetwork(self, step: s.RemoveNetwork, key: str) -> None:
        assert self.virt is not None and not self.virt.users(step.name)
        self._network(step.name, None)


def with_cards() -> Host:
    """It has two more NICs, down and without addresses; the first has seven virtual functions at most."""
    made = Host()
    for number in (1, 2):
        made.links[HERE][f"nic{number}"] = replace(NIC, name=f"nic{number}", addresses=(), routes=(), up=False, index=number)
    made.totals["nic1"] = 7
    return made
