"""A host's agent is asked what it would do, before anybody decides (`weft plan`): question and answer are a row of the store.

Only the agent sees its host, so only it can say which steps lead from there to what is proposed. Who asked takes the row away again; what a
killed command left behind goes when the next one asks.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Mapping

from weft.topology.ovsdb import Client, Op, Watch, map_value
from weft.topology.replica import Replica
from weft.topology.server import DATABASE

PATIENCE, LOOK = 2.0, 0.05
"""Seconds that agents have to answer, and between looks whether they did."""
STALE = 60
"""Seconds after which nobody waits for an answer any more."""
Steps = list[dict[str, str]]
"""`action`, `object` and `detail` of each, in order."""


def question_watch(host: str) -> Watch:
    """The questions to an agent."""
    return Watch(("host", "wanted", "asked", "answer"), (["host", "==", host],))


def open_questions(store: Replica) -> dict[str, Mapping[str, str]]:
    """What hosts would have, by the row that asks, as far as nobody answered it yet."""
    rows, now = store.tables["Question"].items(), time.time()
    return {uuid: row["wanted"] for uuid, row in rows if not row["answer"] and abs(now - row["asked"]) < STALE}


async def answer(store: Replica, question: str, steps: Iterable[Mapping[str, str]]) -> None:
    text = json.dumps({"steps": list(steps)})
    await store.transact({"op": "update", "table": "Question", "where": [["_uuid", "==", ["uuid", question]]], "row": {"answer": text}})


async def ask_agents(client: Client, wanted: Mapping[str, Mapping[str, str]], patience: float = PATIENCE) -> dict[str, Steps]:
    """What the agents of these hosts would do, of those that answer in time."""
    if not wanted:
        return {}
    asked = int(time.time())
    ops: list[Op] = [{"op": "delete", "table": "Question", "where": [["asked", "<", asked - STALE]]}]
    for host, wants in wanted.items():
        ops.append({"op": "insert", "table": "Question", "row": {"host": host, "wanted": map_value(wants), "asked": asked}})
    ours = {result["uuid"][1] for result in (await client.transact(DATABASE, *ops))[1:]}
    try:
        end = time.monotonic() + patience
        while True:
            rows = [row for row in await client.select(DATABASE, "Question", ("_uuid", "host", "answer")) if row["_uuid"] in ours]
            told = {row["host"]: json.loads(row["answer"])["steps"] for row in rows if row["answer"]}
            if len(told) == len(wanted) or time.monotonic() > end:
                return told
            await asyncio.sleep(LOOK)
    finally:
        await client.transact(DATABASE, *({"op": "delete", "table": "Question", "where": [["_uuid", "==", ["uuid", uuid]]]} for uuid in ours))
