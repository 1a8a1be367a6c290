"""What a host does for segments that it is in itself, and for guests with VLANs of their own."""

from tests.agents.hosts import HOST, Host
from tests.apps.test_cables import CABLES
from tests.fabrics import fabric
from weft.agents import steps as s
from weft.agents.observed import HERE
from weft.agents.plan import Wanted
from weft.topology.rows import host_rows


def wanted(text: str = CABLES) -> Wanted:
    return host_rows(fabric(text, lab=True))[HOST]


def test_a_host_gets_an_interface_in_a_segment_with_its_address_and_no_other_way() -> None:
    host, made = Host(), fabric(CABLES).endpoints["kvm1.db"]
    done = host.converge(wanted())
    link = host.links[HERE]["h.db"]
    assert (link.mac, link.up, set(link.addresses)) == (made.mac, True, {str(address) for address in made.addresses})
    (inside,) = (action.step for action in done if isinstance(action.step, s.SetInside) and action.step.name == "h.db")
    assert inside.namespace == HERE
    assert inside.gateways == ()
    assert host.ports["h.db"].kind == "internal"


def test_its_interface_goes_with_the_segments_wish() -> None:
    host = Host()
    host.converge(wanted())
    host.converge(wanted(CABLES.replace(", host: true", "")))
    assert "h.db" not in host.ports
    assert "h.db" not in host.links[HERE]


def test_open_vswitch_looks_at_two_tags_where_guests_have_their_own_and_nowhere_else() -> None:
    host, plain = Host(), Host()
    host.converge(wanted())
    assert host.vlans == 0
    plain.converge(wanted(CABLES.replace(", qinq: true", "")))
    assert plain.vlans == 1
