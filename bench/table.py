"""Figures, each a ratio against a peer in the same run, and the table they are printed as."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.table import Table

REPETITIONS = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `peer` None: the peer does not cope, and `against` says how; `wanted` as (">=" or "<=", ratio)."""

    name: str
    unit: str
    ours: tuple[float, ...]
    peer: tuple[float, ...] | None
    against: str
    wanted: tuple[str, float] | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return median(self.ours) / median(self.peer) if self.peer and median(self.peer) else None

    @property
    def reached(self) -> bool | None:
        """Whether the ratio is as wanted; None: nothing to compare."""
        if self.ratio is None or self.wanted is None:
            return None
        sign, limit = self.wanted
        return self.ratio >= limit if sign == ">=" else self.ratio <= limit


def alternate(ours: Callable[[], float], peer: Callable[[], float], times: int = REPETITIONS) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Both measured in turn, each going first every other time, so that what else the machine does meets both."""
    one: list[float] = []
    other: list[float] = []
    for repetition in range(times):
        turns = ((ours, one), (peer, other))
        for measure, kept in turns if repetition % 2 == 0 else reversed(turns):
            kept.append(measure())
    return tuple(one), tuple(other)


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def spread(values: tuple[float, ...]) -> str:
    """Median, and lowest to highest."""
    if len(values) == 1:
        return number(values[0])
    return f"{number(median(values))} ({number(min(values))}-{number(max(values))})"


def show(figures: Iterable[Figure]) -> None:
    table = Table(title="medians (lowest-highest) of alternating repetitions in one run")
    for column in ("what", "unit", "weft", "peer", "", "ratio", "wanted", ""):
        table.add_column(column)
    for one in figures:
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        wanted = "" if one.wanted is None else f"{one.wanted[0]} {one.wanted[1]}"
        peer = spread(one.peer) if one.peer else ""
        verdict = {True: "yes", False: "NO", None: ""}[one.reached]
        table.add_row(one.name, one.unit, spread(one.ours), peer, one.against, ratio, wanted, " ".join(filter(None, (verdict, one.note))))
    Console(width=170).print(table)
