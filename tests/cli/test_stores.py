"""Which store a command means, and what it says where that does not answer."""

from pathlib import Path

import pytest

from weft.cli.stores import ask, target
from weft.topology.errors import WeftError
from weft.topology.ovsdb import Client


def listening(run: Path, *names: str) -> Path:
    for name in names:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).touch()
    return run


def test_the_only_fabric_is_meant(tmp_path: Path) -> None:
    assert target("", "", listening(tmp_path, "shop/store.sock")) == f"unix:{tmp_path}/shop/store.sock"


def test_a_store_that_was_told_no_place_is_found_and_serves_a_fabric_that_is_new(tmp_path: Path) -> None:
    run = listening(tmp_path, "store.sock")
    assert target("", "", run) == target("", "shop", run) == f"unix:{tmp_path}/store.sock"


def test_a_fabric_of_its_own_is_meant_before_a_store_without_a_place(tmp_path: Path) -> None:
    run = listening(tmp_path, "store.sock", "shop/store.sock")
    assert target("", "shop", run) == f"unix:{tmp_path}/shop/store.sock"


def test_of_several_one_must_be_named(tmp_path: Path) -> None:
    run = listening(tmp_path, "store.sock", "shop/store.sock", "nat/store.sock")
    with pytest.raises(WeftError, match=r"--store unix:\S+ or --fabric nat or --fabric shop$"):
        target("", "", run)


def test_none_says_how_to_have_one(tmp_path: Path) -> None:
    with pytest.raises(WeftError, match="weft lab up FILE"):
        target("", "", tmp_path)


async def nothing(client: Client) -> None:
    raise AssertionError("nobody answers")


def test_a_lab_whose_store_is_dead_is_told_how_to_heal_it(tmp_path: Path) -> None:
    listening(tmp_path, "shop/lab.json")
    with pytest.raises(WeftError, match="weft lab heal store --fabric shop"):
        ask(f"unix:{tmp_path}/shop/store.sock", nothing)
