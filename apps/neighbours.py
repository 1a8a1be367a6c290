"""Who has this address: ARP and ND for what the model knows go to the owner alone, and to the gateway only from its own host.

A question for a known guest's address has its receiver rewritten to the owner's MAC and goes on as unicast; nothing is crafted in
flows, the owner answers itself. What the owner asks for its own address is an announcement (RFC 5227, 2.3), which all get. A question
for the gateway goes to the service port of the asker's host, and so does all traffic for its MAC where the segment is isolated;
elsewhere that is routed (`weft.apps.routing`).
"""

from ipaddress import IPv4Address

from weft.apps.flow import Flow, Given, Goto, Port, Set, mac_number, match
from weft.apps.pipeline import BALANCE, GUEST, ORIGIN, OUT, PROTECT, SEGMENT, SERVE, SERVICE, TOWARDS, held, put
from weft.topology.model import Endpoint, Segment
from weft.topology.names import link_local
from weft.topology.terms import Address

GATEWAY, ANNOUNCED, OWNER, TRAFFIC = 120, 115, 110, 100


def question(address: Address) -> dict[str, Given]:
    """Match arguments of "who has this address": an ARP request (RFC 826) or a neighbour solicitation (RFC 4861, 4.3)."""
    if isinstance(address, IPv4Address):
        return {"arp_op": 1, "arp_tpa": address}
    return {"icmpv6_type": 135, "nd_target": address}


def owner(endpoint: Endpoint, segment: Segment) -> tuple[Flow, ...]:
    """On every host with members: questions for an endpoint's addresses become unicast to it, its announcements go to all."""
    addresses: list[Address] = [address.ip for address in endpoint.addresses]
    if any(address.version == 6 for address in addresses):
        addresses.append(link_local(endpoint.mac))
    to_owner = (Set("eth_dst", mac_number(endpoint.mac)), Goto(BALANCE.number))
    here, why = held((SEGMENT, segment.id)), (endpoint.path, segment.path)
    announced = (address for address in addresses if address.version == 4)
    return (
        *(SERVE.flow(OWNER, match(**here, **question(address)), *to_owner, why=why) for address in addresses),
        *(SERVE.flow(ANNOUNCED, match(**here, **question(a), arp_spa=a), Goto(BALANCE.number), why=why) for a in announced),
    )


def gateway(segment: Segment, port: str) -> tuple[Flow, ...]:
    """A segment's gateway on one host, behind `port`, for the guests of this host."""
    here = held((SEGMENT, segment.id), (ORIGIN, GUEST))
    serve = (put(TOWARDS, SERVICE), put(OUT, Port(port)), Goto(PROTECT.number))
    addresses: list[Address] = [subnet.gateway for subnet in segment.subnets]
    if any(address.version == 6 for address in addresses):
        addresses.append(link_local(segment.gateway_mac))
    asked = (SERVE.flow(GATEWAY, match(**here, **question(address)), *serve, why=(segment.path,)) for address in addresses)
    if segment.joined:  # the rest is routed: `weft.apps.routing`
        return tuple(asked)
    return (*asked, SERVE.flow(TRAFFIC, match(**here, eth_dst=segment.gateway_mac), *serve, why=(segment.path,)))
