"""docs/pipeline.md: the tables, registers and places of both bridges, from `weft.apps.pipeline`."""

from docs.printers.markdown import attribute_docs, docstring, printed_from, prose, table
from weft.apps import pipeline
from weft.apps.flow import Bits

HEADLINES = {
    "integration": "The integration bridge (`br-weft`)",
    "uplink": "An uplink bridge (`wx-…`)",
    "bare": "A bridge in no fabric (`weft controller --bare learn`)",
}


def text() -> str:
    parts = [printed_from("apps/pipeline.py"), "# The pipeline\n", docstring(pipeline) + "\n"]
    for bridge, tables in pipeline.TABLES.items():
        rows = [(str(t.number), f"`{t.name}`", t.stage, prose(t.decides)) for t in tables]
        parts += [f"## {HEADLINES[bridge]}\n", table(("table", "name", "stage", "decides"), rows)]
    parts += ["## What a packet carries with it\n", table(("name", "where", "says"), carried())]
    parts += ["## Fixed numbers\n", table(("name", "value", "says"), constants())]
    return "\n".join(parts)


def carried() -> list[tuple[str, str, str]]:
    docs = attribute_docs(pipeline)
    return [(f"`{name}`", bits(value), docs.get(name, "")) for name, value in vars(pipeline).items() if isinstance(value, Bits)]


def bits(value: Bits) -> str:
    return f"`{value.field}[{value.low}..{value.low + value.width - 1}]`"


def constants() -> list[tuple[str, str, str]]:
    docs = attribute_docs(pipeline)
    numbers = {name: value for name, value in vars(pipeline).items() if isinstance(value, int) and name.isupper()}
    return [(f"`{name}`", str(value), docs.get(name, "")) for name, value in numbers.items()]
