"""Cards and their functions as sysfs shows them: a tree of files that the test makes."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from weft.agents.observed import Link
from weft.agents.sriov import Sriov, _as_netlink, _settings
from weft.agents.steps import SetFunction, SetFunctions
from weft.topology.errors import WeftError


class Held:
    """What a card holds its functions to, in memory."""

    def __init__(self) -> None:
        self.told: dict[int, dict[str, Any]] = {}
        self.refused: set[str] = set()

    def read(self, nic: str) -> Mapping[int, Mapping[str, Any]]:
        return self.told

    def write(self, nic: str, number: int, name: str, value: str | int) -> None:
        if name in self.refused:
            raise WeftError(f"{nic} does not set {name} {value} of its virtual function {number}: Operation not supported")
        self.told.setdefault(number, {})[name] = value


class Tree:
    """A card ``eth0`` with two functions of seven, on the bus beside it."""

    def __init__(self, root: Path) -> None:
        self.root, self.pci = root, root / "devices/pci0000:00"
        self.card = self.pci / "0000:01:00.0"
        self.card.mkdir(parents=True)
        (self.card / "sriov_totalvfs").write_text("7\n")
        (self.card / "sriov_numvfs").write_text("2\n")
        self.net("eth0", self.card)
        for number in range(2):
            function = self.pci / f"0000:01:10.{number}"
            function.mkdir()
            (self.card / f"virtfn{number}").symlink_to(f"../0000:01:10.{number}")
            (function / "iommu_group").symlink_to(f"../../../kernel/iommu_groups/{9 + number}")
        self.drive(0, "igbvf", "eth2")

    def net(self, name: str, device: Path) -> None:
        folder = self.root / "class/net" / name
        folder.mkdir(parents=True)
        (folder / "device").symlink_to(device)

    def drive(self, number: int, driver: str, netdev: str = "") -> None:
        function, folder = self.pci / f"0000:01:10.{number}", self.root / "bus/pci/drivers" / driver
        folder.mkdir(parents=True, exist_ok=True)
        (function / "driver").unlink(missing_ok=True)
        (function / "driver").symlink_to(folder)
        if netdev:
            (function / "net" / netdev).mkdir(parents=True)
            self.net(netdev, function)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def looked(tree: Tree, links: Mapping[str, Link] | None = None, held: Held | None = None) -> list[Any]:
    return list(Sriov(tree.root, held or Held()).look(["eth0"], links or {})["eth0"].functions)


def test_a_function_is_shown_with_its_place_group_driver_and_interface(tree: Tree) -> None:
    held = Held()
    held.told[1] = {"mac": "0a:00:00:00:00:01", "vlan": 5}
    free, bare = looked(tree, held=held)
    assert (free.pci, free.group, free.driver, free.netdev, free.busy) == ("0000:01:10.0", "9", "igbvf", "eth2", "")
    assert (bare.number, bare.driver, bare.mac, bare.vlan) == (1, "", "0a:00:00:00:00:01", 5)
    assert Sriov(tree.root, held).look(["eth0"], {})["eth0"].total == 7


def test_a_nic_without_functions_is_no_card(tree: Tree) -> None:
    assert Sriov(tree.root, Held()).look(["eth2", "eth9"], {}) == {}


def test_who_uses_a_function_is_found(tree: Tree) -> None:
    address = Link("eth2", "", "0a:00:00:00:00:02", 1500, True, "", ("192.0.2.1/24",))
    assert looked(tree, {"eth2": address})[0].busy == "its interface eth2 has an address"
    (tree.root / "class/net/eth2/master").symlink_to("../br0")
    assert looked(tree)[0].busy == "its interface eth2 is in br0"
    tree.drive(1, "igbvf")
    assert "in another namespace" in looked(tree)[1].busy
    tree.drive(1, "vfio-pci")
    assert looked(tree)[1].busy == "a virtual machine has it (vfio-pci)"


def test_the_number_goes_by_way_of_none(tree: Tree) -> None:
    """A pipe in the place of the file keeps everything that is written into it."""
    path = tree.card / "sriov_numvfs"
    path.unlink()
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    Sriov(tree.root, Held()).apply(SetFunctions("eth0", 4))
    assert os.read(reader, 10) == b"04"
    os.close(reader)


def test_a_card_that_refuses_is_one_line(tree: Tree) -> None:
    (tree.card / "sriov_numvfs").unlink()
    (tree.card / "sriov_numvfs").mkdir()
    with pytest.raises(WeftError, match=r"^NIC eth0: 4 virtual functions: Is a directory$"):
        Sriov(tree.root, Held()).apply(SetFunctions("eth0", 4))


def test_settings_are_written_and_the_driver_starts_anew(tree: Tree) -> None:
    held = Held()
    for name in ("bind", "unbind"):
        (tree.root / "bus/pci/drivers/igbvf" / name).write_text("")
    Sriov(tree.root, held).apply(SetFunction("eth0", 0, (("mac", "0a:00:00:00:00:03"), ("vlan", 5)), rebind=True))
    assert held.told == {0: {"mac": "0a:00:00:00:00:03", "vlan": 5}}
    assert [(tree.root / "bus/pci/drivers/igbvf" / name).read_text() for name in ("unbind", "bind")] == ["0000:01:10.0"] * 2


def test_what_a_driver_does_not_do_is_one_line_and_the_rest_is_set(tree: Tree) -> None:
    held = Held()
    held.refused = {"link"}
    with pytest.raises(WeftError, match=r"^eth0 does not set link down of its virtual function 1: Operation not supported$"):
        Sriov(tree.root, held).apply(SetFunction("eth0", 1, (("link", "down"), ("vlan", 5))))
    assert held.told == {1: {"vlan": 5}}


class Info:
    """A function as netlink tells it."""

    def __init__(self, **told: Any) -> None:
        self.told = told

    def get_attr(self, name: str) -> Any:
        return self.told.get(name)


def test_the_state_of_its_link_is_read_and_written_in_the_kernels_numbers() -> None:
    mac = {"vf": 3, "mac": "0a:00:00:00:00:01"}
    for link in ("auto", "up", "down"):
        told = Info(IFLA_VF_MAC=mac, IFLA_VF_LINK_STATE={"vf": 3, **_as_netlink("link", link)})
        number, held = _settings(told)
        assert (number, held["link"]) == (3, link)
    assert _settings(Info(IFLA_VF_MAC=mac))[1]["link"] == "auto"
