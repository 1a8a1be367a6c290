"""One look of an agent at its host: what the kernel and Open vSwitch have, remembered where nothing can have changed it."""

from weft.agents.dhcpclient import DhcpClients
from weft.agents.dnsmasq import Dnsmasq
from weft.agents.ears import Ears
from weft.agents.hostway import host_way_digest
from weft.agents.links import Links
from weft.agents.nexthops import Nexthops
from weft.agents.observed import HERE, Observed
from weft.agents.ovs import Switch
from weft.agents.plan import Wanted
from weft.agents.services import services_digest
from weft.agents.sight import Sight
from weft.agents.spaces import inode
from weft.agents.sriov import Sriov
from weft.agents.uplinks import is_uplink
from weft.topology.hostrow import CardSpec, EndpointSpec
from weft.topology.names import namespace, service_namespace


class Eyes:
    """Of one fabric on one host. Used by the worker thread; `ears` and `nexthops` are waited on by the event loop."""

    def __init__(self, fabric: str, host: str, datapath: str) -> None:
        self._fabric, self._datapath = fabric, datapath
        self._services = service_namespace(fabric, host)
        self.ears = Ears()
        self.links = Links(fabric, finish=datapath == "netdev")
        self.sriov = Sriov()
        self._sight = Sight(fabric, self.ears)
        self.nexthops = Nexthops()
        self.dnsmasq = Dnsmasq(fabric, host, self.ears.watch)
        self.clients = DhcpClients(fabric, host)
        self._based: dict[str, tuple[tuple[object, ...], frozenset[str] | None]] = {}
        self._digest = ""
        self._host_way: str | None = None

    def observe(self, wanted: Wanted, switch: Switch, thorough: bool) -> Observed:
        """`thorough`: nothing is taken from memory."""
        guests = {namespace(self._fabric, spec.guest) for spec in wanted.values() if isinstance(spec, EndpointSpec)}
        seen = self._sight.look((*guests, self._services), thorough)
        bridges = switch.bridges()
        uplinks = [bridge.name for bridge in bridges.values() if bridge.ours and is_uplink(bridge.name)]
        ports = switch.ports()
        lacp = [port.name for port in ports.values() if port.ours and port.bond == "lacp"]
        based = {name: exits for name in uplinks if (exits := self._base(name, switch, thorough)) is not None}
        return Observed(
            self._datapath,
            bridges,
            ports,
            seen,
            self.links.deaf(thorough),
            based,
            self._services_are(thorough),
            self._host_way_is(thorough),
            frozenset(self._sight.renewed),
            self.dnsmasq.observe(),
            self.dnsmasq.resolvers(),
            self._nexthops(),
            switch.vlans(),
            {nic: partner for name in lacp for nic, partner in switch.partners(name).items()},
            self.clients.observe(),
            cards=self.sriov.look({spec.nic for spec in wanted.values() if isinstance(spec, CardSpec)}, seen[HERE]),
        )

    def _nexthops(self) -> dict[str, dict[str, str]]:
        self.nexthops.follow(self._services, inode(self._services))
        return self.nexthops.macs(self._sight.names(self._services))

    def _base(self, bridge: str, switch: Switch, thorough: bool) -> frozenset[str] | None:
        now = switch.instance(bridge)
        known = self._based.get(bridge)
        if thorough or known is None or known[0] != now:
            known = self._based[bridge] = (now, switch.based(bridge))
        return known[1]

    def _services_are(self, thorough: bool) -> str:
        """What the service namespace was last set to; nothing if somebody changed it since."""
        if self._services in self._sight.changed:
            self._digest = ""
        elif thorough:
            self._digest = services_digest(self._services)
        return self._digest

    def _host_way_is(self, thorough: bool) -> str:
        if thorough or self._host_way is None:
            self._host_way = host_way_digest()
        return self._host_way

    def settle_host_way(self, digest: str) -> None:
        """The host's side of the way out through it was just set by ourselves."""
        self._host_way = digest

    def forget_base(self, bridge: str) -> None:
        self._based.pop(bridge, None)

    def forget_bases(self) -> None:
        self._based.clear()

    def settle_services(self, digest: str) -> None:
        """The service namespace was just set by ourselves."""
        self._sight.settle(self._services)
        self._digest = digest
