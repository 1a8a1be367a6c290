"""What the real tests stand on. Without root and Open vSwitch they fail: skipping would hide what was not tested."""

from collections.abc import Iterator

import pytest

from tests.real.ovs import Ovs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/real/" in str(item.path):
            item.add_marker(pytest.mark.real)


@pytest.fixture
def ovs() -> Iterator[Ovs]:
    """A fresh Open vSwitch for one test."""
    with Ovs() as switch:
        yield switch


@pytest.fixture(scope="module")
def shared_ovs() -> Iterator[Ovs]:
    """One Open vSwitch for the tests of a module, each with a bridge of its own."""
    with Ovs() as switch:
        yield switch
