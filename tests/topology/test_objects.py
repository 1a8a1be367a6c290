"""A file goes into the store object by object and comes out again, lines and order included."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topology.sound import EVERYTHING, SOUND
from weft.topology.load import loads
from weft.topology.model import Fabric
from weft.topology.objects import from_objects, said, to_objects
from weft.topology.resolve import resolve

BLOCK = """\
fabric: shop

hosts:
  kvm1:
    address: 10.10.10.1/24

    uplinks:
      physnet:
        nics:
          - ens1
  kvm2: {address: 10.10.10.2/24}
segments: {b: {mode: isolated, subnets: [10.0.9.0/24]}, a: {mode: bridged, uplink: physnet}}
guests:
  web1:
    host: kvm1
    nics:
      - segment: b

      - segment: a
        ip: 10.5.0.1/24
  z: {host: kvm2, nics: [{segment: b}]}
"""


def sources(fabric: Fabric) -> list[str]:
    uplinks = [uplink for host in fabric.hosts.values() for uplink in host.uplinks.values()]
    things = (*fabric.segments.values(), *fabric.hosts.values(), *uplinks, *fabric.guests.values(), *fabric.endpoints.values())
    return [f"{thing.name} {thing.source}" for thing in things]


def shuffled(objects: dict, seed: int = 1) -> dict:
    items = list(objects.items())
    random.Random(seed).shuffle(items)
    return dict(items)


@pytest.mark.parametrize("text", [SOUND, BLOCK, EVERYTHING])
def test_a_document_comes_back_from_its_objects(text):
    document = loads(text, "shop.yaml")
    again = from_objects("shop.yaml", shuffled(to_objects(document)))
    assert again.spec == document.spec
    assert [*again.spec.guests] == [*document.spec.guests]
    assert [*again.spec.segments] == [*document.spec.segments]
    assert to_objects(again) == to_objects(document)
    for path in document.lines:
        if len(path) > 1:
            assert again.line(*path) == document.line(*path)


def test_a_fabric_from_the_store_is_that_of_the_file_with_all_its_lines():
    for text in (SOUND, BLOCK):
        document = loads(text, "shop.yaml")
        again = from_objects("shop.yaml", shuffled(to_objects(document)))
        assert resolve(again) == resolve(document)
        assert sources(resolve(again)) == sources(resolve(document))


def test_every_object_has_a_path_a_line_and_what_the_file_says_of_it():
    objects = to_objects(loads(EVERYTHING, "shop.yaml"))
    assert objects["segments/db"] == ('{"is":{"mode":"isolated","subnets":["10.0.9.0/24"]}}', 9)
    assert said(objects["policies/web-to-db"][0])["allow"] == "tcp/3306"
    assert {"fabric", "overlay", "lab", "monitor", "qos", "links", "invariants", "hosts/kvm1", "guests/web1", "services/front"} < {*objects}


def test_an_inserted_line_changes_lines_and_nothing_else():
    before, after = (to_objects(loads(text, "f")) for text in (BLOCK, "# one more\n" + BLOCK))
    assert {path: text for path, (text, _) in before.items()} == {path: text for path, (text, _) in after.items()}


names = st.integers(0, 30).map(lambda number: f"n{number}")


@st.composite
def files(draw: st.DrawFn) -> str:
    """Sound files in block or flow style, with comments between the lines."""
    segments = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    guests = draw(st.lists(names, max_size=8, unique=True))
    lines = ["fabric: shop", "hosts:", "  kvm1: {address: 10.0.0.1/24}", "segments:"]
    for number, name in enumerate(segments):
        body = {"mode": "isolated", "subnets": [f"10.{number + 1}.0.0/24"]}
        lines += _entry(f"s-{name}", body, draw(st.booleans()))
    for number, name in enumerate(guests):
        lines += ["guests:"] if number == 0 else []
        nics = [{"segment": f"s-{segment}"} for segment in draw(st.lists(st.sampled_from(segments), min_size=1, max_size=3))]
        lines += _entry(f"g-{name}", {"host": "kvm1", "nics": nics}, draw(st.booleans()))
    return "\n".join(line + "\n#" * draw(st.integers(0, 1)) for line in lines) + "\n"


def _entry(name: str, body: dict, block: bool) -> list[str]:
    if not block:
        return [f"  {name}: {json.dumps(body)}"]
    return [f"  {name}:", *(f"    {key}: {json.dumps(value)}" for key, value in body.items())]


@settings(max_examples=150, deadline=None)
@given(files(), st.integers(0, 1000))
def test_whatever_the_file_its_fabric_survives_the_store(text, seed):
    document = loads(text, "f")
    again = resolve(from_objects("f", shuffled(to_objects(document), seed)))
    assert again == resolve(document)
    assert sources(again) == sources(resolve(document))
