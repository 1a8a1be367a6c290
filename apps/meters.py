"""Numbers for the meters of a host's integration bridge: one allotment for all apps, so that two never want the same number.

A meter is named after what it limits. Only what is named here has a number:

===================  =================================================================
``serve/web1.eth0``  DHCP requests and router solicitations of an endpoint of this host
``dns/web1.eth0``    questions of an endpoint of this host to its gateway's DNS
``snoop/web1.eth0``  what an endpoint of this host says of multicast groups
``qos/0``            what an endpoint of this host sends or gets, by place in the file
===================  =================================================================
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache

from weft.apps.view import View
from weft.topology import names

BITS = 16
"""Open vSwitch has 200,000 meters and more (``ovs-ofctl meter-features``); a number says nothing of how many there are."""


def numbers(here: View) -> Mapping[str, int]:
    """The number of every meter that a host may have, by name."""
    return _allotted(tuple(_wanted(here)))


def _wanted(here: View) -> Iterator[str]:
    local: set[str] = set()
    for site in here.inhabited:
        for endpoint in site.local:
            local.add(endpoint.name)
            if site.segment.dhcp or site.segment.ra:
                yield f"serve/{endpoint.name}"
            if site.segment.snoop:
                yield f"snoop/{endpoint.name}"
            if site.segment.dns:
                yield f"dns/{endpoint.name}"
    yield from (f"qos/{qos.number}" for qos in here.fabric.qos if qos.endpoint in local)


@lru_cache(maxsize=256)
def _allotted(wanted: tuple[str, ...]) -> Mapping[str, int]:
    return names.allot("meter", wanted, BITS)
