"""The table of DHCP options is what the dnsmasq of this machine knows, and takes."""

import re
import subprocess

import pytest

from weft.topology import dhcp_options

pytestmark = pytest.mark.real

HELP = {"dhcp": dhcp_options.V4, "dhcp6": dhcp_options.V6}
SAMPLES = {dhcp_options.ADDRESSES: ("192.0.2.1", "2001:db8::1"), dhcp_options.TEXT: ("example.org", "example.org")}
SPECIAL = {"classless-static-route": "10.0.0.0/8,192.0.2.1", "static-route": "10.0.0.1,192.0.2.1", "policy-filter": "10.0.0.0,192.0.2.1"}


@pytest.mark.parametrize("kind", HELP)
def test_the_names_are_those_that_dnsmasq_prints(kind: str) -> None:
    shown = subprocess.run(["dnsmasq", "--help", kind], capture_output=True, text=True, check=True).stdout
    names = set(re.findall(r"^ *\d+ (\S+)$", shown, re.MULTILINE))
    assert set(HELP[kind]) - names == set()
    assert names - set(HELP[kind]) - set(dhcp_options.OURS) == set()


@pytest.mark.parametrize("kind", HELP)
def test_dnsmasq_takes_a_value_of_the_kind_that_the_table_says(kind: str) -> None:
    refused = {}
    for name, what in HELP[kind].items():
        value = SPECIAL.get(name) or ("9" if isinstance(what, int) else SAMPLES[what][kind == "dhcp6"])  # type: ignore[index]
        assert dhcp_options.refusal(name, value) is None, name
        lines = [line for line in dhcp_options.lines({name: value}) if line.startswith("option6:" if kind == "dhcp6" else "option:")]
        assert lines, name
        command = ["dnsmasq", "--test", "-C", "/dev/null", *(f"--dhcp-option={line}" for line in lines)]
        done = subprocess.run(command, capture_output=True, text=True)
        refused |= {name: done.stderr} if done.returncode else {}
    assert refused == {}
