"""`weft why`."""

import re
from typing import Annotated

import typer

from weft.apps.compile import Compiler
from weft.apps.why import origins
from weft.cli.flows import show_flows
from weft.cli.stores import FabricOption, JsonOption, StoreOption, look, target
from weft.cli.tables import show
from weft.topology.errors import WeftError
from weft.topology.names import BASE_COOKIE, LEARNED_COOKIES

app = typer.Typer(add_completion=False)

COOKIE = re.compile(r"(?:^|.*\bcookie=)(0x[0-9a-fA-F]+|[0-9a-fA-F]{16}$)")
"""A cookie alone, or somewhere in a flow."""
BASE = "laid by the agent: an uplink bridge switches whatever becomes of the controller"
LEARNED = "learned by the switch itself: where a MAC that the model does not know was last seen, or which member of a service a client had"


@app.command()
def why(
    flow: Annotated[str, typer.Argument(metavar="COOKIE|FLOW", help="A cookie, or a line of ovs-ofctl dump-flows.")],
    store: StoreOption = "",
    fabric: FabricOption = "",
    as_json: JsonOption = False,
) -> None:
    """Which line of which file made this flow."""
    cookie = _cookie(flow)
    if cookie == BASE_COOKIE or cookie in LEARNED_COOKIES:
        show([{"flow": f"{cookie:#x}", "why": BASE if cookie == BASE_COOKIE else LEARNED, "source": ""}], as_json)
        return
    seen = look(target(store, fabric))
    programs = Compiler().compile(seen.fabric, seen.facts)
    found = [origin for origin in origins(seen.fabric, programs) if origin.flow.cookie == cookie]
    if not found:
        raise WeftError(f"{cookie:#x}: no flow of this fabric has that cookie: it is another's, or of an earlier apply")
    show_flows(found, as_json)


def _cookie(text: str) -> int:
    found = COOKIE.match(text.strip())
    if found is None:
        raise WeftError(f'"{text}" names no cookie: give 0x…, or a line of ovs-ofctl dump-flows')
    return int(found.group(1), 16)
