"""MACs that the switch itself remembers, in shares.

Before Open vSwitch 3.1 writes a learned flow that has a limit, it counts those of the same table and cookie one by one: with one limit of
16,384 a flood of new senders is learned at 3,000 a second and falling, in 64 shares of 256 at 17,000 and more. A share is told by
the last bits of the sender's MAC, and has a cookie of its own.
"""

from collections.abc import Mapping

from weft.apps.flow import Action, Flow, Given, Learn, LearnLoad, LearnMatch, match
from weft.apps.pipeline import LEARNED_IDLE, LEARNED_MAX, Table
from weft.topology.names import LEARNED_COOKIES

SHARES = len(LEARNED_COOKIES)


Specs = tuple[LearnMatch | LearnLoad, ...]


def remember(
    table: Table, priority: int, given: Mapping[str, Given], specs: Specs, into: Table, *then: Action, why: tuple[str, ...]
) -> tuple[Flow, ...]:
    """Flows of `table` that write `specs` into table `into` for the senders of what `given` matches, and go on with `then`."""
    return tuple(
        table.flow(
            priority,
            match(**given, eth_src=(share, SHARES - 1)),
            Learn(into.number, 1, cookie, specs, idle_timeout=LEARNED_IDLE, limit=LEARNED_MAX // SHARES),
            *then,
            why=why,
        )
        for share, cookie in enumerate(LEARNED_COOKIES)
    )
