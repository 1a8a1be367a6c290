"""Segments whose guests have VLANs of their own (``qinq: true``): their tags travel inside the segment's, as in IEEE 802.1ad.

=========  ============================================================================================
`admit`    a guest's tagged frames too, by its MAC alone: what is in its VLANs is its own
`serve`    they go on to `forward` at once: addresses in a guest's VLAN are not those of the segment
`emit`     on the wire the segment's tag is around them, with EtherType 0x88a8 (`weft.apps.bridging`)
=========  ============================================================================================

The outer tag is what Open vSwitch's own ``dot1q-tunnel`` ports push (ovs-vswitchd.conf.db(5), qinq-ethtype), also around frames without a tag. A
switch sees the second tag with ``vlan-limit`` above 1, which the agent sets. MACs are learned for the segment, not for each inner VLAN.
"""

from collections.abc import Iterator

from weft.apps.flow import Given, Goto, Port, match
from weft.apps.pipeline import (
    ADMIT,
    CONDITION,
    FORWARD,
    GUEST,
    ORIGIN,
    SEGMENT,
    SERVE,
    STRANGER,
    VLAN_PRESENT,
    held,
    put,
)
from weft.apps.view import Part, Unit, View
from weft.topology.model import Endpoint, Segment

TAGGED = (VLAN_PRESENT, VLAN_PRESENT)
OWN_VLAN, PAST = 90, 200
"""Priorities in `admit` and in `serve`."""


def parts(here: View) -> Iterator[Part]:
    for site in here.inhabited:
        if site.segment.qinq:
            yield Part(("own tags", site.segment.name), past, (site.segment,))
            for endpoint in site.local:
                yield Part(("own tags", endpoint.name), enter, (endpoint, site.segment))


def enter(endpoint: Endpoint, segment: Segment) -> Unit:
    sent: dict[str, Given] = {"in_port": Port(endpoint.port), "vlan_vid": TAGGED}
    sent |= {} if endpoint.spoof else {"eth_src": endpoint.mac}
    strange = (put(STRANGER, 1),) if endpoint.spoof else ()
    on = (put(SEGMENT, segment.id), put(ORIGIN, GUEST), *strange, Goto(CONDITION.number))
    return (ADMIT.flow(OWN_VLAN, match(**sent), *on, why=(endpoint.path, segment.path)),)


def past(segment: Segment) -> Unit:
    tagged = match(**held((SEGMENT, segment.id)), vlan_vid=TAGGED)
    return (SERVE.flow(PAST, tagged, Goto(FORWARD.number), why=(segment.path,)),)
