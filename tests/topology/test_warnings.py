"""What is allowed and hardly meant, beside what policies and services have of it."""

from tests.topology.sound import SOUND, fabric
from weft.topology.warnings import warnings

JOINED = SOUND.replace("  db:", "  branch: {mode: routed, subnets: [192.168.2.0/24], uplink: physnet, mtu: MTU}\n  db:", 1)


def said(mtu: str) -> list[str]:
    text = JOINED.replace(", mtu: MTU", f", mtu: {mtu}" if mtu else "")
    return [line for line in warnings(fabric(text)) if "mtu" in line]


def test_joined_segments_of_different_mtu_are_a_warning_on_the_line_of_the_smaller() -> None:
    (line,) = said("1300")
    assert 'segment "branch": mtu 1300, but guests of segment "office" send it packets of up to 1442 bytes' in line
    assert line.startswith("shop.yaml:8: ")


def test_joined_segments_of_one_mtu_are_none() -> None:
    assert said("") == []
