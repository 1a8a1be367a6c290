"""Port names and the numbers that one switch gives them."""

from collections.abc import Mapping

from weft.apps.flow import LOCAL

Numbers = Mapping[str, int]
"""Number of every port that the switch has now, by name."""

MOST = 0xFFFFFF00
"""Highest number of a port that is not reserved (OpenFlow 1.4.1, 7.2.1)."""


def real(number: int) -> bool:
    """A port that packets can come in by, or the switch's own."""
    return 0 < number <= MOST or number == LOCAL
