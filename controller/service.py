"""The controller: every switch that connects is told what it should hold, and kept so.

What a switch should hold is asked of one function, `program_for`; the fabric's compiler stands behind it. A switch of no fabric is bare and
becomes a learning switch.
"""

import time
from collections.abc import Callable, Iterable
from enum import Enum

from weft.apps.bare import Mode, bare
from weft.apps.flow import LOCAL, Program
from weft.controller.channel import Channel
from weft.controller.connection import Answer as PacketAnswer
from weft.controller.connection import Connection, log
from weft.controller.reactive import Learner
from weft.controller.reconcile import Reconciler, State
from weft.controller.tags import Tags


class Answer(Enum):
    """What else than a program there is to say of a switch."""

    BARE = "it is in no fabric"
    HOLD = "not known yet: leave it as it is"


ProgramFor = Callable[[int], Program | Answer | None]
"""By datapath id. None: as Answer.BARE."""
Report = Callable[[int, State | None], None]
"""Datapath id and how far the switch is; None: it is gone."""


class Switch:
    """One connected switch."""

    def __init__(self, connection: Connection, report: Callable[[State], None]) -> None:
        self.connection = connection
        self.reconciler = Reconciler(connection, report)
        self.learner: Learner | None = None
        self.bare: Mode | None = None

    @property
    def bridge(self) -> str:
        """The bridge's name: that of its own port."""
        return next((name for name, number in self.connection.ports.items() if number == LOCAL), "")

    @property
    def state(self) -> State:
        return self.reconciler.state

    def react(self) -> None:
        """Packet-ins are answered by the learning app from now on."""
        if self.learner is None:
            self.learner = Learner(self.connection.version)
        self.connection.answer = self.learner.answer


class Controller:
    """All switches. `serial` is the number of the intent that `program_for` speaks of; `sweep` says that it is complete."""

    def __init__(
        self,
        program_for: ProgramFor = lambda dpid: Answer.BARE,
        *,
        mode: Mode = "learn",
        ovsdb: str | None = None,
        epoch: int | None = None,
        report: Report = lambda dpid, state: None,
    ) -> None:
        self.switches: dict[int, Switch] = {}
        self.program_for = program_for
        self.answer_for: Callable[[Connection], PacketAnswer | None] = lambda connection: None
        """What hears the packet-ins of a switch that has a program."""
        self.serial = 0
        self.sweep = True
        self.channel = Channel(self, int(time.time() * 1000) if epoch is None else epoch)
        self.report = report
        self._mode: Mode = mode
        self._tags = Tags(ovsdb, self._tags_changed) if ovsdb and mode == "learn" else None
        self._warned: set[int] = set()

    async def start(self, targets: Iterable[str]) -> None:
        """Listens. Raises WeftError where it cannot."""
        if self._tags is not None:
            await self._tags.start()
        await self.channel.listen(targets)

    async def stop(self) -> None:
        """Lets go of all switches; they keep their flows."""
        await self.channel.close()
        if self._tags is not None:
            await self._tags.stop()

    def refresh(self, dpids: Iterable[int] | None = None) -> None:
        """Asks `program_for` again, for these switches or all: the programs may have changed."""
        for dpid in list(self.switches) if dpids is None else dpids:
            if dpid in self.switches:
                self._direct(self.switches[dpid])

    # What the channel tells.

    def connected(self, connection: Connection) -> None:
        dpid = connection.dpid
        switch = self.switches[dpid] = Switch(connection, lambda state: self.report(dpid, state))
        self.report(dpid, switch.state)
        self._direct(switch)

    def lost(self, connection: Connection) -> None:
        switch = self.switches.get(connection.dpid)
        if switch is not None and switch.connection is connection:
            del self.switches[connection.dpid]
            self.report(connection.dpid, None)

    def ports_changed(self, connection: Connection, names: set[str]) -> None:
        switch = self.switches[connection.dpid]
        switch.reconciler.ports_changed(names)
        if switch.learner is not None:
            switch.learner.keep(set(connection.ports.values()))

    def flows_changed(self, connection: Connection, body: bytes) -> None:
        self.switches[connection.dpid].reconciler.flows_changed(body)

    # What a switch should do.

    def _direct(self, switch: Switch) -> None:
        answer = self.program_for(switch.connection.dpid)
        if isinstance(answer, Program):
            switch.bare, switch.connection.answer = None, self.answer_for(switch.connection)
            switch.connection.see_fragments(answer.fragments)
            switch.reconciler.want(answer, self.serial, self.sweep)
        elif answer is not Answer.HOLD:
            self._direct_bare(switch)

    def _direct_bare(self, switch: Switch) -> None:
        dpid, mode, ports = switch.connection.dpid, self._mode, None
        if not switch.connection.open_vswitch:
            mode = "reactive"
        if mode == "learn" and self._tags is not None:
            ports = self._tags.ports(dpid)
            mode = "normal" if self._tags.bonded(dpid) else mode
        if mode == "reactive":
            switch.react()
        if mode != switch.bare:
            log.info("%s: %s, in no fabric: a learning switch (%s)", switch.connection, switch.bridge, mode)
        if mode == "learn" and ports is None and dpid not in self._warned:
            self._warned.add(dpid)
            log.warning(
                "port tags of %s are void: its database is not read here; `--bare normal` honours them, `--ovsdb TARGET` reads them",
                switch.bridge or f"{dpid:016x}",
            )
        switch.bare = mode
        switch.reconciler.want(bare(mode, ports), self.serial)

    def _tags_changed(self) -> None:
        for switch in self.switches.values():
            if switch.bare is not None:
                self._direct_bare(switch)
