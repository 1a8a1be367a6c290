"""A nat segment that leaves by the way its hosts themselves go, beside one that leaves by an uplink: real packets, as the flows say."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps.test_host_way import THROUGH
from tests.real.labs import Lab, lab

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file: Path = tmp_path_factory.mktemp("through") / "through.yaml"
    file.write_text(THROUGH.replace("fabric: test", "fabric: through").replace("[nic0]", "[ens224]"))
    with lab(file, "through") as here:
        yield here


def test_every_ping_is_answered_or_not_as_the_flows_say(real: Lab) -> None:
    pings = json.loads(real.run("lab", "ping", real.fabric, "--json"))
    answers = {(ping["from"], ping["to"]): ping["answered"] for ping in pings}
    assert answers["one", "outside"] and answers["two", "outside"] and not answers["outside", "one.eth0"]
    assert [ping for ping in pings if ping["expected"] != ping["answered"]] == []


def test_outside_sees_the_hosts_own_address(real: Lab) -> None:
    seen = real.exec("one", "curl", "--silent", "--max-time", "5", "http://203.0.113.1/")
    assert "203.0.113.11" in seen.stdout, seen.stderr


def test_when_the_segment_goes_the_host_is_as_it_was(real: Lab) -> None:
    real.file.write_text(real.file.read_text().replace("uplink: host", "uplink: physnet"))
    real.run("apply", real.file)
    assert "weft-way" not in real.exec("kvm1", "nft", "list", "tables").stdout
    assert "x.host" not in real.exec("kvm1", "ip", "-br", "link").stdout
    assert real.pings("one", "203.0.113.1")
