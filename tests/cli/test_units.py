"""The systemd units as text."""

from configparser import ConfigParser

import pytest

from weft.cli.units import AGENT, CONTROLLER, FIRST, HELD, STORE, Role, units

FULL = Role("kvm1", ("/usr/local/bin/weft",), fabric="shop", listen="10.10.10.1")


def read(text: str) -> ConfigParser:
    """Raises where a setting stands there twice; such as may (ExecStart) do not here."""
    parser = ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


@pytest.mark.parametrize("name", [STORE, CONTROLLER, AGENT, HELD])
def test_every_unit_says_whose_it_is_and_is_started_by_something(name: str) -> None:
    text = units(FULL)[name]
    assert text.startswith(FIRST)
    assert read(text)["Install"]["WantedBy"] in ("multi-user.target", "ovs-vswitchd.service")


def test_a_host_whose_store_is_elsewhere_runs_the_agent_alone() -> None:
    made = units(Role("kvm2", ("weft",), store="tcp:10.10.10.1:6640"))
    assert made.keys() == {AGENT, HELD}
    assert read(made[AGENT])["Service"]["ExecStart"] == "weft agent --host kvm2 --store tcp:10.10.10.1:6640"


def test_store_and_controller_listen_where_other_hosts_look() -> None:
    made = units(FULL)
    assert read(made[STORE])["Service"]["ExecStart"].endswith("--listen unix:/run/weft/shop/store.sock --listen tcp:10.10.10.1:6640")
    assert read(made[CONTROLLER])["Service"]["ExecStart"].endswith("--listen tcp:10.10.10.1:6653")
    six = units(Role("kvm1", ("weft",), fabric="shop", listen="fd00::1"))
    assert "tcp:[fd00::1]:6640" in six[STORE]


def test_only_who_needs_none_of_it_is_shut_off_from_the_file_system() -> None:
    """A mount namespace of its own would hide the network namespaces that an agent makes."""
    made = {name: read(text)["Service"] for name, text in units(FULL).items()}
    assert [made[name].get("ProtectSystem") for name in (STORE, CONTROLLER, AGENT)] == ["strict", "strict", None]
    own_mounts = ("ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectKernelTunables", "ProtectProc", "ReadWritePaths")
    assert not [setting for setting in own_mounts if setting in made[AGENT]]
    assert all(service["NoNewPrivileges"] == "yes" for service in made.values())
    assert made[STORE]["CapabilityBoundingSet"] == made[CONTROLLER]["CapabilityBoundingSet"] == ""


def test_a_weft_below_somebodys_home_can_be_read_there() -> None:
    assert read(units(Role("kvm1", ("/root/.local/bin/weft",), fabric="shop"))[STORE])["Service"]["ProtectHome"] == "read-only"
    assert read(units(FULL)[STORE])["Service"]["ProtectHome"] == "yes"


def test_words_are_quoted_as_systemd_reads_them() -> None:
    text = units(Role("kvm1", ("/opt/my weft/bin/100%", "-c", "import x; x()"), store="unix:/s"))[AGENT]
    assert '"/opt/my weft/bin/100%%" -c "import x; x()" agent' in text


def test_what_makes_open_vswitch_wait_never_stays() -> None:
    held = read(units(FULL)[HELD])
    assert held["Unit"]["Before"] == "ovs-vswitchd.service"
    assert "flow-restore-wait=true" in held["Service"]["ExecStartPre"]
    assert "remove Open_vSwitch . other_config flow-restore-wait" in held["Service"]["ExecStopPost"]
    assert held["Service"]["ExecStart"].startswith("/bin/sleep ")
    assert held["Unit"]["ConditionPathExists"] == "/var/lib/weft/agent/kvm1/host.json"
