"""One table of a switch: which of its flows a packet meets.

As Open vSwitch's classifier does it (lib/classifier.c): the flow of the highest priority that matches, where flows with conjunction actions
do not count by themselves. A conjunction that a packet meets in every dimension, at one priority above all other flows', is looked up again with
its number as conj_id; where that finds nothing, it is as if there were none.
"""

from collections import defaultdict
from collections.abc import Iterator

from weft.apps import flow as f
from weft.apps.packet import Packet

Shape = tuple[tuple[str, int | None], ...]
Values = tuple[int, ...]


class Classifier:
    """The flows of one table by the shape of their match, the way a switch's tuple space search has them."""

    def __init__(self) -> None:
        self._shapes: dict[Shape, dict[Values, f.Flow]] = {}
        self._soft: dict[Shape, dict[Values, dict[int, f.Flow]]] = {}
        """Flows with conjunction actions, by priority too."""

    def add(self, flow: f.Flow, ports: dict[str, int]) -> None:
        shape = tuple((term.field, term.mask) for term in flow.match)
        values = tuple(_number(term, ports) for term in flow.match)
        if any(isinstance(action, f.Conjunction) for action in flow.actions):
            self._soft.setdefault(shape, {}).setdefault(values, {})[flow.priority] = flow
            return
        held = self._shapes.setdefault(shape, {})
        if values not in held or held[values].priority <= flow.priority:
            held[values] = flow

    def find(self, packet: Packet) -> f.Flow | None:
        best = self._hard(packet)
        for number in self._conjunctions(packet, best.priority if best else -1) if self._soft else ():
            found = self._hard({**packet, "conj_id": number})
            if found is not None:
                return found
        return best

    def _hard(self, packet: Packet) -> f.Flow | None:
        best: f.Flow | None = None
        for shape, held in self._shapes.items():
            values = _values(shape, packet)
            found = held.get(values) if values is not None else None
            if found is not None and (best is None or found.priority > best.priority):
                best = found
        return best

    def _conjunctions(self, packet: Packet, above: int) -> Iterator[int]:
        """Numbers of those that are met in all dimensions at a priority above `above`, the highest first."""
        met: defaultdict[int, defaultdict[tuple[int, int], set[int]]] = defaultdict(lambda: defaultdict(set))
        for shape, held in self._soft.items():
            values = _values(shape, packet)
            for priority, flow in held.get(values, {}).items() if values is not None else ():
                for action in flow.actions:
                    if priority > above and isinstance(action, f.Conjunction):
                        met[priority][action.number, action.of].add(action.dimension)
        for priority in sorted(met, reverse=True):
            yield from (number for (number, of), dimensions in met[priority].items() if len(dimensions) == of)


def _number(term: f.Term, ports: dict[str, int]) -> int:
    return ports[term.value.name] if isinstance(term.value, f.Port) else term.value


def _values(shape: Shape, packet: Packet) -> Values | None:
    values = []
    for field, mask in shape:
        value = packet.get(field)
        if value is None:
            return None
        values.append(value if mask is None else value & mask)
    return tuple(values)
