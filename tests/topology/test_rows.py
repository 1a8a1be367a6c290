"""What each host is told."""

from tests.topology.sound import SOUND, fabric
from weft.topology.hostrow import EndpointSpec, Spec, TunnelSpec, UplinkSpec, from_json, to_json
from weft.topology.rows import host_rows


def rows(text: str = SOUND, lab: bool = False) -> dict[str, dict[str, Spec]]:
    return host_rows(fabric(text, lab))


def gateways(text: str) -> dict[str, tuple[str, ...]]:
    return {spec.name: spec.gateways for row in rows(text).values() for spec in row.values() if isinstance(spec, EndpointSpec)}


def test_a_host_is_told_what_concerns_it_and_nothing_else():
    assert {host: [*row] for host, row in rows().items()} == {
        "kvm1": ["bridge/br-weft", "uplink/physnet", "tunnel/kvm2", "service/office", "service/db", "endpoint/web1.eth0", "endpoint/web1.eth1"],
        "kvm2": ["bridge/br-weft", "uplink/physnet", "tunnel/kvm1", "service/db", "endpoint/db1.eth0"],
    }


def test_every_row_survives_its_json():
    for row in rows(lab=True).values():
        for key, spec in row.items():
            assert from_json(key, to_json(spec)) == spec


def test_tunnels_join_every_two_hosts_that_have_an_address():
    three = SOUND.replace("segments:\n", "  kvm3: {address: 10.10.10.3/24}\n  kvm4: {}\nsegments:\n")
    tunnels = {host: [key for key in row if key.startswith("tunnel/")] for host, row in rows(three).items()}
    assert tunnels == {
        "kvm1": ["tunnel/kvm2", "tunnel/kvm3"], "kvm2": ["tunnel/kvm1", "tunnel/kvm3"], "kvm3": ["tunnel/kvm1", "tunnel/kvm2"], "kvm4": [],
    }  # fmt: skip
    assert rows(three)["kvm1"]["tunnel/kvm3"] == TunnelSpec("t.kvm3", "br-weft", "geneve", "10.10.10.1", "10.10.10.3", "bfd")


def test_there_are_no_tunnels_where_everything_is_bridged():
    text = SOUND.partition("  office:")[0] + "guests:\n  web1: {host: kvm1, nics: [{segment: lan}]}\n"
    assert [*rows(text)["kvm1"]] == ["bridge/br-weft", "uplink/physnet", "endpoint/web1.eth0"]


def test_an_uplink_has_a_way_out_only_where_a_segment_is_translated():
    uplink = rows()["kvm2"]["uplink/physnet"]
    assert isinstance(uplink, UplinkSpec)
    assert (uplink.exit, uplink.patch, uplink.patch_peer, uplink.integration) == ("x.physnet", "p.physnet", "w.physnet", "br-weft")
    bridged = SOUND.replace("mode: nat", "mode: bridged").replace("ip: 192.168.122.10", "ip: 192.168.122.10")
    uplink = rows(bridged)["kvm2"]["uplink/physnet"]
    assert isinstance(uplink, UplinkSpec)
    assert uplink.exit is None


def test_a_guest_leaves_by_the_gateway_of_its_first_nic_that_has_one():
    assert gateways(SOUND) == {"web1.eth0": ("192.168.122.1",), "web1.eth1": (), "db1.eth0": ()}
    second = SOUND.replace("  db: {", "  nat2: {mode: nat, subnets: [10.7.0.0/24], uplink: physnet}\n  db: {")
    both = second.replace("{segment: office, ip: 192.168.122.10}", "{segment: nat2}, {segment: office, ip: 192.168.122.10}")
    assert gateways(both) == {"web1.eth0": ("10.7.0.1",), "web1.eth1": (), "web1.eth2": (), "db1.eth0": ()}


def test_a_guest_on_a_bridged_segment_leaves_by_the_router_of_its_subnet_unless_it_is_that_router():
    bridged = SOUND.replace("vlan: 5", "vlan: 5, subnets: [10.5.0.0/24]")
    member = bridged.replace("segment: db, ip: 10.0.9.5", "segment: lan, ip: 10.5.0.7")
    router = bridged.replace("segment: db, ip: 10.0.9.5", "segment: lan, ip: 10.5.0.1")
    assert gateways(member)["db1.eth0"] == ("10.5.0.1",)
    assert gateways(router)["db1.eth0"] == ()


def test_rows_of_an_unchanged_host_are_equal_when_another_changes():
    more = SOUND + "  db2: {host: kvm2, nics: [{segment: db}]}\n"
    assert rows()["kvm1"] == rows(more)["kvm1"]
    assert rows()["kvm2"] != rows(more)["kvm2"]


def test_a_segment_may_have_a_name_that_no_interface_may_have():
    default = SOUND.replace("office", "default")
    assert rows(default)["kvm1"]["service/default"].inside == "s.default"  # type: ignore[union-attr]
