"""Who has which address from DHCP, as hosts report it (``lease/SEGMENT/ADDRESS``)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from weft.apps.facts import States
from weft.cli.tables import Row
from weft.topology.model import Endpoint


@dataclass(frozen=True, slots=True)
class Lease:
    host: str
    segment: str
    address: str
    mac: str
    """Empty where the client did not say it."""
    until: str
    """UTC as 2026-12-01T12:00:00Z, or ``for ever``."""

    def __str__(self) -> str:
        return f"{self.address} until {self.until}"


def leases(states: States) -> list[Lease]:
    """What every host has given away. A guest that moved may have its lease on two hosts."""
    found = []
    for host, objects in states.items():
        for key, text in objects.items():
            kind, _, name = key.partition("/")
            if kind == "lease":
                segment, _, address = name.partition("/")
                said = json.loads(text)
                until = datetime.fromtimestamp(said["until"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if said["until"] else "for ever"
                found.append(Lease(host, segment, address, said["mac"], until))
    return sorted(found, key=lambda lease: (lease.segment, lease.host, lease.address))


def of_endpoint(given: Iterable[Lease], endpoint: Endpoint) -> list[Lease]:
    addresses = {str(address.ip) for address in endpoint.addresses}
    return [lease for lease in given if lease.segment == endpoint.segment and lease.address in addresses]


def of_mac(given: Iterable[Lease], segment: str, mac: str) -> list[Lease]:
    return [lease for lease in given if mac and (lease.segment, lease.mac) == (segment, mac)]


def nobodys(lease: Lease) -> Row:
    """The row of a lease of somebody that neither the file nor a port names."""
    return {
        "endpoint": "",
        "guest": "",
        "host": lease.host,
        "segment": lease.segment,
        "mac": lease.mac,
        "ips": [lease.address],
        "attach": "",
        "state": "leased",
        "reason": "",
        "lease": [str(lease)],
    }
