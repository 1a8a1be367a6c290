"""What `weft check` says of policies."""

from datetime import UTC, datetime

import pytest

from tests.topology.sound import SOUND, fabric, faults
from weft.topology.check_policies import overdue, policy_warnings

MORE = (
    SOUND.replace("db1: {host: kvm2,", "db1: {host: kvm2, labels: {tier: db},")
    + """\
  lan1: {host: kvm1, nics: [{segment: lan}]}
  lan2: {host: kvm1, nics: [{segment: lan, ip: 10.5.0.2/24}]}
policies:
"""
)
LINE = MORE.count("\n") + 1


def said(*policies: str, text: str = MORE) -> list[str]:
    made = fabric(text + "".join(f"  - {{{policy}}}\n" for policy in policies))
    return [line.removeprefix("shop.yaml:") for line in policy_warnings(made)]


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("from: db1, to: outside", "nothing leads from db1 to outside"),
        ("from: outside, to: db", "nothing leads from outside to db"),
        ("from: db1, to: web1.eth0", "nothing leads from db1 to web1.eth0"),
        ("from: host, to: db1", "nothing leads from host to db1"),
        ("from: {tier: wbe}, to: any", "{tier: wbe} is no guest's"),
        ("from: 'fd00::/8', to: db1", "fd00::/8 and db1 have no IP version in common"),
        ("from: outside, to: 203.0.114.0/24", ""),
        ("from: outside, to: host", "no guest is at either end of what goes from outside to host"),
        ("from: web1, to: db1", ""),
        ("from: db, to: 10.0.9.0/28", ""),
        ("from: lan2, to: outside", ""),
        ("from: any, to: db1", ""),
        ("from: office, to: lan2", ""),
    ],
)
def test_a_policy_that_can_never_match_is_a_warning(policy: str, reason: str) -> None:
    warning = f'{LINE}: policy "a": can never match: {reason}'
    assert said(f"name: a, allow: tcp, {policy}") == ([warning] if reason else [])


@pytest.mark.parametrize(
    ("first", "later", "shadowed"),
    [
        ("deny: tcp, from: any, to: any", "allow: tcp/80, from: web1, to: db1", True),
        ("allow: any, from: db, to: db", "deny: udp/53, from: web1.eth1, to: db1", True),
        ("deny: tcp/80-90, from: db, to: any", "deny: tcp/85, from: db, to: db1", True),
        ("deny: tcp, from: 10.0.9.0/24, to: any", "deny: tcp, from: db1, to: web1.eth1", True),
        ("deny: tcp, from: 10.0.0.0/8, to: any", "deny: tcp, from: 10.0.9.0/28, to: db1", True),
        ("audit: any, from: any, to: any", "deny: tcp/80, from: web1, to: db1", False),
        ("audit: any, from: any, to: any", "audit: tcp/80, from: web1, to: db1", True),
        ("deny: tcp/80, from: db, to: db1", "deny: tcp, from: db, to: db1", False),
        ("deny: udp, from: db, to: db1", "deny: tcp, from: db, to: db1", False),
        ("deny: tcp, from: web1, to: db1", "deny: tcp, from: db, to: db1", False),
        ("deny: tcp, from: db, to: db1, until: 2026-01-01T00:00Z", "deny: tcp, from: db, to: db1", False),
        ("deny: tcp, from: db, to: db1", "deny: tcp, from: db, to: db1, until: 2026-01-01T00:00Z", True),
    ],
)
def test_a_policy_that_an_earlier_one_leaves_nothing_is_a_warning_with_both_lines(first: str, later: str, shadowed: bool) -> None:
    word = first.split(":")[0]
    warning = f'{LINE + 1}: policy "b": never decides: policy "a" on line {LINE} says {word} to all of it before'
    assert said(f"name: a, {first}", f"name: b, {later}") == ([warning] if shadowed else [])


def test_a_closed_segment_that_nobody_may_enter_is_a_warning() -> None:
    closed = MORE.replace("mode: isolated,", "mode: isolated, policy: closed,")
    warning = ['8: segment "db": is closed, and no policy allows anything to enter it']
    assert said("name: a, deny: tcp, from: any, to: db1", text=closed) == warning
    for receiver in ("any", "db", "db1", "{tier: db}", "10.0.9.5"):
        assert said(f"name: a, allow: tcp, from: any, to: {receiver}", text=closed) == []


def test_whom_a_switch_must_know_by_address_has_one() -> None:
    hidden = 'endpoint "lan1.eth0" has no address that a switch could know it by: give it ip'
    for policy, key in (
        ("from: lan1, to: lan2", "from lan1"),
        ("from: lan, to: lan2", "from lan"),
        ("from: lan1, to: any", "from lan1"),
        ("from: web1.eth0, to: lan1", "to lan1"),
    ):
        assert faults(f"{MORE}  - {{name: a, deny: tcp, {policy}}}\n") == [f'{LINE}: policy "a": {key}: {hidden}']
    for policy in ("from: any, to: lan1", "from: lan1, to: outside", "from: lan2, to: lan1", "from: outside, to: lan1"):
        assert faults(f"{MORE}  - {{name: a, deny: tcp, {policy}}}\n") == []


def test_a_policy_whose_time_is_over_is_a_warning() -> None:
    made = fabric(f"{MORE}  - {{name: a, deny: tcp, from: any, to: db1, until: 2026-01-01T12:00Z}}\n")
    assert list(overdue(made, datetime(2026, 1, 1, 11, tzinfo=UTC))) == []
    assert list(overdue(made, datetime(2026, 1, 1, 12, tzinfo=UTC))) == [
        f'shop.yaml:{LINE}: policy "a": its time was over on 2026-01-01 at 12:00 UTC'
    ]
