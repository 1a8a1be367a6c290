"""What an agent keeps on disk to have its host wired before anybody answers: the host's row of the store, and its bridges' flows.

A cache and never a truth. It is written when the controller says that a switch has all its flows, read only while no store or no
controller is there, and whoever removes it loses nothing but a head start. Each file is replaced whole, so that an agent which is
killed meanwhile, or a disk that is full, leaves the one before.

Who starts ovs-vswitchd may set ``other_config:flow-restore-wait`` (ovs-vswitchd.conf.db(5)) together with our mark: then it looks at no
packet, and lets no controller in, until the agent has made the host's ports and cleared both. Open vSwitch drops all flows of a bridge
in that moment, for now it has a controller and had none; so what was kept is laid right after it. An agent that finds the mark
clears it whatever becomes of the flows.
"""

import json
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from weft.agents.files import write_whole
from weft.agents.keptflows import LAST_RESERVED, Kept, kept, laid
from weft.agents.ofctl import age, dumped, lay
from weft.agents.ovs import Switch
from weft.topology.hostrow import EndpointSpec, Spec, from_json
from weft.topology.ovsdb import Row

log = logging.getLogger("weft.keep")

FOLDER = Path("/var/lib/weft/agent")
"""Below it a folder for each host that this machine is or was."""
LOOK_AGAIN = 60.0
"""Seconds after which flows are compared though nobody said that they changed."""
SURE = 6.0
"""Seconds of a bridge's life after which Open vSwitch's word that no controller is connected counts: it writes that every 5 s."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the store said last of a host."""

    store: str
    fabric: str
    wanted: Mapping[str, str] = field(default_factory=dict)
    serial: int = 0
    controller: str | None = None

    def specs(self) -> dict[str, Spec]:
        return {key: from_json(key, text) for key, text in self.wanted.items()}


class Keep:
    """The folder of one host. Everything is read from it again when it is needed; only what was written is remembered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[str, str] = {}
        self._trouble: dict[str, str] = {}

    def told(self, store: str) -> Told | None:
        """What `store` said last; None: nothing, or nothing that this version understands."""
        try:
            said = Told(**json.loads((self._folder / "host.json").read_text()))
            said.specs()
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return said if said.store == store else None

    def tell(self, told: Told) -> None:
        self._write("host", json.dumps(asdict(told), indent=1))

    def flows(self, bridge: str) -> Kept | None:
        try:
            said = json.loads((self._folder / f"bridge.{bridge}.json").read_text())
            return Kept(**{name: tuple(lines) for name, lines in said.items()})
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def keep(self, bridge: str, what: Kept) -> bool:
        """Whether it is on the disk."""
        return self._write(f"bridge.{bridge}", json.dumps(asdict(what), indent=1))

    def forget(self, bridges: set[str]) -> None:
        """Removes what is kept of bridges that are none of these."""
        for path in self._folder.glob("bridge.*.json"):
            if path.name.removeprefix("bridge.").removesuffix(".json") not in bridges:
                with suppress(OSError):
                    path.unlink()

    def _write(self, name: str, text: str) -> bool:
        """Whole or not at all. A disk that does not take it is said once, and tried again with the next change or look."""
        path = self._folder / f"{name}.json"
        if self._written.get(name) == text and path.exists():
            return True
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(path, text, durable=True)
        except OSError as error:
            said = f"{path}: {(error.strerror or str(error)).lower()}: after a reboot this host waits for its store and controller"
            if said != self._trouble.get(name):
                log.warning("%s", said)
            self._trouble[name] = said
            return False
        self._written[name] = text
        self._trouble.pop(name, None)
        return True


class Keeper:
    """Writes down a host's bridges when they are in sync, and lays what was written where nobody else will. `folder`: Open vSwitch's own."""

    def __init__(self, keep: Keep, folder: Path) -> None:
        self._keep, self._folder = keep, folder
        self._saved: dict[str, tuple[object, float]] = {}
        self._laid: dict[str, object] = {}

    def save(self, bridge: str, switch: Switch, wanted: Mapping[str, Spec], said: Row) -> None:
        """`said`: the bridge's row of the store, by a controller that has brought it in sync."""
        now, clock = (sorted(said.items(), key=str), switch.instance(bridge)), time.monotonic()
        before, at = self._saved.get(bridge, (None, 0.0))
        if now == before and clock - at < LOOK_AGAIN:
            return
        if self._keep.keep(bridge, kept(*dumped(self._folder, bridge), lasting(bridge, switch, wanted))):
            self._saved[bridge] = now, clock

    def lay(self, bridge: str, switch: Switch, wanted: Mapping[str, Spec], alone: bool) -> None:
        """Where a bridge has no controller and nothing but what was kept of it: the rest of that, as far as its ports are there.

        `alone`: no controller can have been there yet. Raises WeftError where the switch does not take it.
        """
        now, what = switch.instance(bridge), self._keep.flows(bridge)
        alone = alone or (age(self._folder, bridge) > SURE and not switch.connected(bridge))
        if what is None or not alone or self._laid.get(bridge) == now:
            return
        numbers = lasting(bridge, switch, wanted)
        there, able = kept(*dumped(self._folder, bridge), numbers), laid(what, numbers)
        known = set(laid(there, numbers).flows)
        left = Kept(able.meters, able.groups, tuple(line for line in able.flows if line not in known))
        if left.flows and set(there.flows) <= set(what.flows):
            lay(self._folder, bridge, left)
            log.info("%s: %d flows laid as they were kept, until a controller is there", bridge, len(left.flows))
        self._laid[bridge] = now


def lasting(bridge: str, switch: Switch, wanted: Mapping[str, Spec]) -> dict[str, int]:
    """Numbers of the ports of a bridge that are the same by their name after a reboot: ours, and those that the file names."""
    named = {spec.port for spec in wanted.values() if isinstance(spec, EndpointSpec) and spec.attach == "port"}
    ports = (port for port in switch.ports().values() if port.bridge == bridge and (port.ours or port.name in named))
    return {port.name: port.ofport for port in ports if port.ofport is not None and 0 < port.ofport < LAST_RESERVED}
