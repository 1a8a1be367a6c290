"""What the doctor says of hosts that are folders: every finding that is no success has its mend."""

import json
from pathlib import Path

import pytest

from tests.fabrics import TWO_HOSTS, fabric
from weft.agents.doctor import findings
from weft.agents.doctor_cards import GRUB, managers, set_iommu
from weft.agents.doctor_fabric import between, of_host, reported
from weft.agents.doctor_traffic import dropping
from weft.agents.finding import Finding, Ground
from weft.topology.errors import WeftError

INTEL, AMD = "vendor_id\t: GenuineIntel\n", "vendor_id\t: AuthenticAMD\n"


class Host:
    """A folder, and programs that say what they are told to."""

    def __init__(self, root: Path) -> None:
        self.ground = Ground(root, str(root / "bin"))
        self.write("/proc/sys/kernel/osrelease", "6.1.0-28-amd64")

    def write(self, path: str, text: str = "") -> None:
        self.ground.at(path).parent.mkdir(parents=True, exist_ok=True)
        self.ground.at(path).write_text(text)

    def program(self, name: str, script: str = "") -> None:
        self.write(f"/bin/{name}", f"#!/bin/sh\n{script}\n")
        self.ground.at(f"/bin/{name}").chmod(0o755)

    def finds(self, about: str) -> list[Finding]:
        return [finding for finding in findings(self.ground) if finding.about == about]

    def find(self, about: str) -> Finding:
        (finding,) = self.finds(about)
        return finding


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_bare_machine_lacks_everything_and_says_how_to_mend_it(host: Host) -> None:
    found = findings(host.ground)
    assert {finding.about for finding in found if finding.verdict == "fail"} == {"ip", "nft", "ethtool", "Open vSwitch"}
    assert [finding.about for finding in found if finding.verdict != "ok" and not finding.mend] == ["SR-IOV"]


def test_what_is_there_is_found(host: Host) -> None:
    for path in ("/dev/net/tun", "/dev/kvm", "/dev/vhost-net", "/sys/module/8021q/x", "/sys/bus/pci/drivers/vfio-pci/bind"):
        host.write(path)
    host.write("/proc/devices", "Character devices:\n237 macvtap\n")
    for program in ("ip", "nft", "ethtool", "dnsmasq", "libvirtd", "virsh", "modprobe"):
        host.program(program)
    host.program("ovs-vsctl", "case $* in *--version) echo 'ovs-vsctl (Open vSwitch) 3.1.0';; *ovs_version) echo 3.1.0;; esac")
    library = "libvirt-python"  # is here or is not: not of this host's folder
    assert [finding for finding in findings(host.ground) if finding.verdict != "ok" and finding.about != library] == [
        Finding("SR-IOV", "warning", "no NIC here has virtual functions"),
        Finding("IOMMU", "warning", "off: VFs cannot be given to guests", "weft doctor --set-iommu (adds iommu=pt)"),
    ]


def test_open_vswitch_that_started_too_early_or_would_wait_is_told(host: Host) -> None:
    host.program("ovs-vsctl", "case $* in *ovs_version) echo 3.1.0;; *other_config) echo '{flow-restore-wait=\"true\"}';; esac")
    host.write("/var/log/openvswitch/ovs-vswitchd.log", "INFO|Set n-handler-threads to 0")
    assert host.find("ovs-vswitchd").verdict == "fail"
    assert "remove Open_vSwitch . other_config flow-restore-wait" in host.find("flow-restore-wait").mend


def test_libvirt_that_is_installed_and_does_not_answer_is_a_warning(host: Host) -> None:
    host.program("libvirtd")
    host.program("virsh", "exit 1")
    assert host.find("libvirt").verdict == "warning"


def test_a_card_says_how_many_functions_it_has_and_how_many_are_made(host: Host) -> None:
    host.write("/sys/class/net/ens1f0/device/sriov_totalvfs", "7\n")
    host.write("/sys/class/net/ens1f0/device/sriov_numvfs", "2\n")
    assert host.find("SR-IOV ens1f0").found == "2 of 7 VFs made"


@pytest.mark.parametrize(("cpu", "line"), [(INTEL, "intel_iommu=on iommu=pt"), (AMD, "iommu=pt")])
def test_the_iommu_is_set_only_when_asked_once_and_without_touching_other_settings(host: Host, cpu: str, line: str) -> None:
    host.write("/proc/cpuinfo", cpu)
    assert line in host.find("IOMMU").mend
    with pytest.raises(WeftError, match="no GRUB here"):
        set_iommu(host.ground)
    host.write("/etc/default/grub", 'GRUB_CMDLINE_LINUX="quiet"\n')
    assert set_iommu(host.ground) is True
    assert f'"$GRUB_CMDLINE_LINUX {line}"' in host.ground.text(GRUB)
    assert set_iommu(host.ground) is False
    assert host.ground.text("/etc/default/grub") == 'GRUB_CMDLINE_LINUX="quiet"'
    host.write("/proc/cmdline", f"quiet {line}")
    assert "firmware" in host.find("IOMMU").mend


def chains(*given: tuple[str, str, str, str]) -> str:
    keys = ("family", "table", "name", "policy")
    said = [{"chain": dict(zip(keys, each, strict=True)) | {"hook": "forward"}} for each in given]
    return json.dumps({"nftables": [{"metainfo": {}}, *said]})


def test_a_forward_chain_that_drops_is_told_and_ours_and_one_that_accepts_are_not() -> None:
    listed = chains(("ip", "filter", "FORWARD", "drop"), ("inet", "fw", "forward", "accept"), ("inet", "weft-way", "forward", "drop"))
    assert list(dropping(listed)) == [("ip filter", "FORWARD")]
    assert list(dropping("")) == []


def test_docker_firewalld_and_nftables_each_have_a_mend_of_their_own(host: Host) -> None:
    host.program("nft", f"echo '{chains(('ip', 'filter', 'FORWARD', 'drop'), ('inet', 'fw', 'fwd', 'drop'))}'")
    host.write("/run/docker.sock")
    host.write("/run/firewalld/x")
    host.write("/proc/sys/net/bridge/bridge-nf-call-iptables", "1\n")
    host.write("/proc/sys/net/ipv4/conf/all/rp_filter", "1\n")
    assert "DOCKER-USER -i x.host" in host.find("forward of ip filter").mend
    assert host.find("forward of inet fw").mend.startswith("nft insert rule inet fw fwd iifname x.host accept")
    assert "firewall-cmd" in host.find("firewalld").mend
    assert "bridge-nf-call-iptables=0" in host.find("br_netfilter").mend
    assert "rp_filter=2" in host.find("rp_filter").mend


def test_loose_reverse_path_filtering_is_no_finding(host: Host) -> None:
    host.write("/proc/sys/net/ipv4/conf/all/rp_filter", "2\n")
    assert host.finds("rp_filter") == []


def test_who_else_manages_a_nic_is_told(host: Host) -> None:
    assert list(managers(host.ground, "ens224")) == []
    host.write("/etc/network/interfaces", "auto ens224\niface ens224 inet dhcp\n")
    host.write("/run/NetworkManager/x")
    host.write("/sys/class/net/ens224/ifindex", "3")
    host.write("/run/systemd/netif/links/3", "NETWORK_FILE=/etc/systemd/network/a.network\n")
    told = list(managers(host.ground, "ens224"))
    assert [finding.found.partition(" ")[0] for finding in told] == ["ifupdown", "NetworkManager", "systemd-networkd"]
    host.write("/etc/NetworkManager/conf.d/weft.conf", "[keyfile]\nunmanaged-devices=interface-name:ens224\n")
    assert not [finding for finding in managers(host.ground, "ens224") if "NetworkManager" in finding.found]


def test_a_nic_of_the_file_that_is_not_there_is_a_failure_with_the_line_of_the_file(host: Host) -> None:
    made = fabric(TWO_HOSTS)
    (uplink,) = made.hosts["kvm1"].uplinks.values()
    host.write("/sys/class/net/ens1/device/vendor")
    (finding,) = of_host(host.ground, made, made.hosts["kvm1"])
    assert (finding.verdict, finding.about) == ("fail", uplink.nics[0])
    assert finding.found.startswith(str(uplink.source)) and "ens1" in finding.mend


def test_a_nic_that_takes_smaller_packets_or_hears_nothing_is_told(host: Host) -> None:
    made = fabric(TWO_HOSTS)
    (uplink,) = made.hosts["kvm1"].uplinks.values()
    for name, text in (("mtu", "1400"), ("max_mtu", "1400"), ("carrier", "0")):
        host.write(f"/sys/class/net/{uplink.nics[0]}/{name}", text)
    assert [finding.verdict for finding in of_host(host.ground, made, made.hosts["kvm1"])] == ["warning", "fail"]


def test_an_uplink_whose_address_is_dhcps_needs_a_client_and_no_other_does(host: Host) -> None:
    made = fabric(TWO_HOSTS.replace("nics: [nic0]}", "nics: [nic0], address: dhcp}", 1))
    about = {name: [f for f in of_host(host.ground, made, made.hosts[name]) if f.about == "udhcpc"] for name in made.hosts}
    (missing,) = about["kvm1"]
    assert (missing.verdict, missing.mend) == ("fail", "apt install udhcpc")
    assert "test.yaml:4: uplink physnet" in missing.found
    assert about["kvm2"] == []
    host.program("udhcpc")
    (there, *_) = of_host(host.ground, made, made.hosts["kvm1"])
    assert (there.about, there.verdict) == ("udhcpc", "ok")


def test_hosts_on_one_wire_with_two_mtus_are_told() -> None:
    text = TWO_HOSTS.replace("nics: [nic0]}", "nics: [nic0], mtu: 9000}", 1)
    assert text != TWO_HOSTS
    (finding,) = between(fabric(text))
    assert "9000 on kvm1" in finding.found and "1500 on kvm2" in finding.found
    assert list(between(fabric(TWO_HOSTS))) == []


def test_what_running_hosts_report_of_one_another_is_told() -> None:
    down = {"state": "wired", "link": "down", "link_reason": "bfd down"}
    failed = {"state": "failed", "reason": "no NIC"}
    told = list(reported({"kvm1": {"tunnel/kvm2": down, "bridge/br-weft": {"state": "wired"}, "uplink/p": failed}}))
    assert [(finding.about, finding.found) for finding in told] == [("kvm1 tunnel/kvm2", "bfd down"), ("kvm1 uplink/p", "no NIC")]
    assert "-M do" in told[0].mend


def test_a_linux_bridge_that_an_uplink_is_beside_is_looked_at(host: Host) -> None:
    made = fabric(TWO_HOSTS.replace("uplinks: {physnet: {nics: [nic0]}}}\n  kvm2", "uplinks: {physnet: {bridge: br0}}}\n  kvm2"))

    def found() -> list[tuple[str, str]]:
        return [(each.verdict, each.mend) for each in of_host(host.ground, made, made.hosts["kvm1"])]

    assert found() == [("fail", "ip link add br0 type bridge")]
    host.write("/sys/class/net/br0/mtu", "1500")
    host.write("/sys/class/net/br0/bridge/vlan_filtering", "0")
    assert found() == []
    host.write("/sys/class/net/br0/mtu", "1400")
    host.write("/sys/class/net/br0/bridge/vlan_filtering", "1")
    assert found() == [
        ("fail", "mtu: 1400 for its uplink"),
        ("warning", "bridge vlan add vid NUMBER dev n.physnet, for each vlan of a segment"),
    ]
