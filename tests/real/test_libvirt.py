"""weft beside libvirt: the same questions to libvirt's own networks and to weft's, and every difference is one that the docs explain."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from tests.real.labs import ROOT, lab
from tests.real.libvirt import Net, libvirt
from tests.real.probes import GUESTS, HOST, KINDS, NETWORKS, OUTSIDE, PROBES, Machine, address, gateway

pytestmark = pytest.mark.real

NAME = "peers-lv"
DOC = ROOT / "docs/libvirt.md"


def fabric() -> str:
    """The three networks as a fabric file has them."""
    segments = "".join(f"  {kind}: {segment(kind)}\n" for kind in KINDS)
    guests = "".join(f"  {name}: {{host: kvm1, nics: [{{segment: {name[:-1]}, ip: {address(name)}}}]}}\n" for name in GUESTS)
    hosts = "  kvm1: {address: 10.10.10.1/24, uplinks: {physnet: {nics: [ens224]}}}\n"
    return f"fabric: {NAME}\nsegments:\n{segments}hosts:\n{hosts}guests:\n{guests}"


def segment(kind: str) -> str:
    net = NETWORKS[kind]
    uplink = "" if kind == "isolated" else ", uplink: physnet"
    return f"{{mode: {kind}, subnets: [{net}], dhcp: {{range: {net[100]}-{net[199]}}}, dns: true{uplink}}}"


def nets() -> tuple[Net, ...]:
    """The same for libvirt."""
    def guests(kind: str) -> dict[str, tuple[str, str]]:
        return {name: (f"52:54:00:00:0{KINDS.index(kind)}:0{name[-1]}", address(name)) for name in GUESTS if name[:-1] == kind}

    return tuple(Net(kind, kind, NETWORKS[kind], guests(kind)) for kind in KINDS)


@pytest.fixture(scope="module")
def theirs() -> Iterator[Mapping[str, str]]:
    with libvirt(NAME, nets(), f"{OUTSIDE}/24", f"{HOST}/24") as machine:
        yield answers(Machine(lambda station: machine.space("host" if station == "router" else station)))


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    file: Path = tmp_path_factory.mktemp("libvirt") / f"{NAME}.yaml"
    file.write_text(fabric())
    with lab(file, NAME) as here:
        places = {"host": "kvm1", "router": "kvm1.svc"}
        yield answers(Machine(lambda station: f"weft.{here.fabric}.{places.get(station, station)}"))


def answers(machine: Machine) -> Mapping[str, str]:
    """`outside` is told where the networks are: the routed one by its administrator, the others by somebody who would like to get in.
    Every guest tries its gateway, isolated ones too, whom nobody names one. Kernels that route say what they refuse as often as they are
    asked, not only so often a second (icmp(7)).
    """
    done = machine.run("router", "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")
    assert done.returncode == 0, done.stderr
    routes = [("outside", str(network), HOST) for network in NETWORKS.values()]
    routes += [(guest, "default", gateway(guest[:-1])) for guest in GUESTS]
    for station, to, via in routes:
        done = machine.run(station, "ip", "route", "replace", to, "via", via)
        assert done.returncode == 0, done.stderr
    return machine.answers()


def documented() -> dict[str, tuple[str, str]]:
    """Probe -> what libvirt and what weft answer, from the document's table of differences; a row may name several probes, a line each."""
    table = DOC.read_text().partition("| question |")[2].partition("\n\n")[0]
    found: dict[str, tuple[str, str]] = {}
    for line in table.splitlines()[2:]:
        probes, libvirt_says, weft_says, why = (cell.strip() for cell in line.strip("|").split("|"))
        assert why
        found |= {probe.strip(): (libvirt_says, weft_says) for probe in probes.split("<br>")}
    return found


def test_both_answer_alike_but_for_what_the_document_explains(ours: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    show(ours, theirs)
    differing = {probe.name: (theirs[probe.name], ours[probe.name]) for probe in PROBES if theirs[probe.name] != ours[probe.name]}
    assert differing == documented()


def test_libvirt_itself_does_what_its_networks_are_for(theirs: Mapping[str, str]) -> None:
    """The comparison is worth nothing where the peer does not work."""
    assert theirs["nat guest to outside, tcp"] == "yes, as the host"
    assert theirs["routed guest to outside, tcp"] == "yes, as itself"
    assert theirs["outside to routed guest, tcp"] == "yes, as itself"
    assert "yes" not in theirs["isolated guest to outside, tcp"]
    assert all(theirs[f"{kind} guest gets its address by DHCP"] == "yes" for kind in KINDS)


def show(ours: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    """The table of answers; `pytest -s` shows it."""
    table = Table("probe", "libvirt", "weft", "same?")
    for probe in PROBES:
        one, other = theirs[probe.name], ours[probe.name]
        table.add_row(probe.name, one, other, "yes" if one == other else "NO")
    Console(width=140).print(table)
