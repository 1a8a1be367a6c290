"""Which cookie is meant by what a user hands to `weft why`."""

import pytest

from weft.cli.why import _cookie
from weft.topology.errors import WeftError

COOKIE = 0x7765667499E4354B


@pytest.mark.parametrize(
    "text",
    [
        "0x7765667499e4354b",
        "7765667499e4354b",
        "cookie=0x7765667499e4354b/-1",
        " cookie=0x7765667499e4354b, duration=63.5s, table=0, priority=300,dl_src=01:00:00:00:00:00 actions=drop",
        "table=0, priority=300,vlan_tci=0x0000/0x1fff,cookie=0x7765667499e4354b actions=drop",
    ],
)
def test_a_cookie_is_found_alone_and_in_a_flow(text: str) -> None:
    assert _cookie(text) == COOKIE


@pytest.mark.parametrize("text", ["", "web1", "12", "OFPST_FLOW reply (OF1.4) (xid=0x2):", "table=0,vlan_tci=0x0000/0x1fff actions=drop"])
def test_other_numbers_are_no_cookies(text: str) -> None:
    with pytest.raises(WeftError, match="names no cookie"):
        _cookie(text)
