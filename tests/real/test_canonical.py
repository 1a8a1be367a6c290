"""What weft writes is what Open vSwitch gives back, to the byte: only so can contents be compared by bytes."""

from collections.abc import Iterator

import pytest

from tests.controller.samples import GROUPS, METERS, flows
from tests.real.ovs import Ovs
from tests.real.talk import Talk
from weft.controller import wire
from weft.controller.encode import (
    encode,
    group_body,
    group_mod,
    groups_seen,
    meter_body,
    meter_mod,
    meters_seen,
    seen,
)

FLOWS = flows()


@pytest.fixture(scope="module", params=[wire.V1_3, wire.V1_4], ids=["1.3", "1.4"])
def talk(shared_ovs: Ovs, request: pytest.FixtureRequest) -> Iterator[Talk]:
    bridge = f"br{request.param}"
    shared_ovs.add_bridge(bridge, f"a{request.param}", f"b{request.param}", protocols="[OpenFlow13,OpenFlow14]")
    talk = Talk(shared_ovs.rundir / f"{bridge}.mgmt", request.param)
    for meter in METERS:
        talk.send(meter_mod(talk.version, talk.xid, wire.ADD, meter_body(meter)))
    for group in GROUPS:
        talk.send(group_mod(talk.version, talk.xid, wire.ADD, group_body(group, {})))
    assert talk.barrier() == []
    yield talk
    talk.close()


@pytest.mark.parametrize("flow", FLOWS, ids=range(len(FLOWS)))
def test_a_flow_is_read_back_as_it_was_written(talk: Talk, flow) -> None:
    wanted = encode(flow, {})
    assert wanted is not None
    key, entry = wanted
    talk.send(wire.flow_mod(talk.version, talk.xid, wire.ADD, key, *entry))
    assert talk.barrier() == []
    dump = wire.flow_dump(talk.version, talk.xid, entry[0], 0xFFFFFFFFFFFFFFFF)
    (found,) = [one for body in talk.multipart(dump) for one in seen(body)]
    assert (found.key, found.entry) == (key, entry)


def test_a_flow_is_deleted_by_its_identity(talk: Talk) -> None:
    for flow in FLOWS:
        key, entry = encode(flow, {})
        talk.send(wire.flow_mod(talk.version, talk.xid, wire.ADD, key, *entry))
    for flow in FLOWS:
        key, _ = encode(flow, {})
        talk.send(wire.flow_mod(talk.version, talk.xid, wire.DELETE_STRICT, key))
    assert talk.barrier() == []
    assert talk.multipart(wire.flow_dump(talk.version, talk.xid)) == [b""]


def test_groups_are_read_back_as_they_were_written(talk: Talk) -> None:
    request = wire.multipart_request(talk.version, talk.xid, wire.MP_GROUP_DESC)
    found = dict(one for body in talk.multipart(request) for one in groups_seen(body))
    assert found == {group.number: group_body(group, {}) for group in GROUPS}


def test_meters_are_read_back_as_they_were_written(talk: Talk) -> None:
    request = wire.multipart_request(talk.version, talk.xid, wire.MP_METER_CONFIG, bytes.fromhex("ffffffff00000000"))
    found = dict(one for body in talk.multipart(request) for one in meters_seen(body))
    assert found == {meter.number: meter_body(meter) for meter in METERS}
