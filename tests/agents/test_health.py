"""Members behind shared addresses, as their host's agent keeps book of them; that it asks them is shown by tests/real/test_services.py."""

import json

from weft.agents.health import Health
from weft.topology.hostrow import MemberSpec

KEY = "member/shop/web1.eth0"
SPEC = MemberSpec("shop", "web1.eth0", "s.office", "192.168.122.1", "192.168.122.11", 80)


async def test_who_was_dead_before_this_agent_began_is_dead_until_it_answers() -> None:
    health = Health(lambda: None)
    health.want("weft.nowhere.svc", {KEY: SPEC}, {KEY: json.dumps({"state": "failed", "reason": "gone"})})
    assert health.states == {KEY: ("failed", "gone")}
    health.want("weft.nowhere.svc", {}, {})
    assert health.states == {}
    health.stop()


async def test_who_was_not_asked_yet_is_neither_dead_nor_alive() -> None:
    health = Health(lambda: None)
    health.want("weft.nowhere.svc", {KEY: SPEC}, {KEY: json.dumps({"state": "wired", "reason": ""})})
    assert health.states == {}
    health.stop()
