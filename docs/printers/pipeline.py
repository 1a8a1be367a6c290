"""docs/pipeline.md: the tables, registers and places of both bridges, from `weft.apps.pipeline`."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

from docs.printers.markdown import attribute_docs, printed_from, prose, table
from weft.apps import pipeline
from weft.apps.compile import Compiler
from weft.apps.facts import supposed
from weft.apps.flow import Bits, Flow
from weft.apps.text import flow_text
from weft.apps.why import switches
from weft.topology.load import load_fabric

EXAMPLES = Path(__file__).parents[2] / "examples"

HEADLINES = {
    "integration": "The integration bridge (`br-weft`)",
    "uplink": "An uplink bridge (`wx-…`)",
    "bare": "A bridge in no fabric (`weft controller --bare learn`)",
}

HEAD = """\
# The pipeline

Every packet goes through the tables of the bridge it is on, from the first downwards and never up. Every behaviour contributes flows to the
tables it needs. Numbers are allotted in `apps/pipeline.py` and appear nowhere else.
"""


def text() -> str:
    parts = [printed_from("apps/pipeline.py"), HEAD]
    for bridge, tables in pipeline.TABLES.items():
        rows = [(str(t.number), f"`{t.name}`", t.stage, prose(t.decides)) for t in tables]
        parts += [f"## {HEADLINES[bridge]}\n", table(("table", "name", "stage", "decides"), rows)]
    parts += ["## What a packet carries with it\n", table(("name", "where", "says"), carried())]
    parts += ["## Fixed numbers\n", table(("name", "value", "says"), constants())]
    parts += ["## The flows of one bridge\n", SAMPLE, *sample()]
    return "\n".join(parts)


SAMPLE = """\
`br-weft` on host `kvm1` of [examples/shop.yaml](../examples/shop.yaml): what each table holds there, and the objects of the file that each
flow serves. `weft why` finds the same on a running fabric.
"""


def sample() -> Iterator[str]:
    fabric = load_fabric(str(EXAMPLES / "shop.yaml"), lab=True)
    programs = Compiler().compile(fabric, supposed(fabric))
    dpid = fabric.hosts["kvm1"].dpid
    tables = switches(fabric)[dpid][2]
    numbers = {t.number: t.name for t in tables}
    for t in tables:
        flows = sorted((flow for flow in programs[dpid].flows() if flow.table == t.number), key=lambda flow: -flow.priority)
        if flows:
            yield f"### {t.name}\n\n```\n" + "".join(said(list(alike), numbers) for _, alike in groupby(flows, shape)) + "```\n"


def said(alike: list[Flow], numbers: Mapping[int, str]) -> str:
    """Flows of one shape, each on a line; where they are many, the first and how many more."""
    shown = alike if len(alike) < MANY else alike[:1]
    lines = [f"{flow_text(flow, numbers).partition(', ')[2]}\n    # {', '.join(flow.why)}\n" for flow in shown]
    return "".join(lines) + (f"    # and {len(alike) - 1} more like it\n" if shown is not alike else "")


MANY = 8


def shape(flow: Flow) -> tuple[object, ...]:
    """What flows that differ in numbers alone have in common."""
    return flow.priority, [(term.field, term.mask) for term in flow.match], [type(action) for action in flow.actions], flow.why


def carried() -> list[tuple[str, str, str]]:
    docs = attribute_docs(pipeline)
    return [(f"`{name}`", bits(value), docs.get(name, "")) for name, value in vars(pipeline).items() if isinstance(value, Bits)]


def bits(value: Bits) -> str:
    return f"`{value.field}[{value.low}..{value.low + value.width - 1}]`"


def constants() -> list[tuple[str, str, str]]:
    docs = attribute_docs(pipeline)
    numbers = {name: value for name, value in vars(pipeline).items() if isinstance(value, int) and name.isupper()}
    return [(f"`{name}`", str(value), docs.get(name, "")) for name, value in numbers.items()]
