"""Fabrics for tests, written as a user writes them, and the world their flows make."""

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from tempfile import TemporaryDirectory

from weft.apps.compile import Compiler
from weft.apps.facts import Facts, UplinkFact
from weft.apps.world import World
from weft.topology import names
from weft.topology.load import load_fabric
from weft.topology.model import Fabric

TWO_HOSTS = """
fabric: test
hosts:
  kvm1: {address: 10.10.10.1/24, uplinks: {physnet: {nics: [nic0]}}}
  kvm2: {address: 10.10.10.2/24, uplinks: {physnet: {nics: [nic0]}}}
lab: {outside: 203.0.113.0/24}
"""

EVERY_SEGMENT = (
    TWO_HOSTS
    + """
segments:
  office: {mode: nat, subnets: [192.168.122.0/24], uplink: physnet}
  db: {mode: isolated, subnets: [10.0.9.0/24]}
  six: {mode: isolated, subnets: ["fd00:9::/64"], ra: false}
  lan: {mode: bridged, uplink: physnet, vlan: 5}
  flat: {mode: bridged, uplink: physnet}
guests:
  web1: {host: kvm1, nics: [{segment: office, ip: 192.168.122.10}, {segment: db, ip: 10.0.9.4}]}
  web2: {host: kvm2, nics: [{segment: office, ip: 192.168.122.11}]}
  web3: {host: kvm1, nics: [{segment: office, ip: 192.168.122.12}]}
  db1: {host: kvm2, nics: [{segment: db, ip: 10.0.9.5}]}
  db2: {host: kvm1, nics: [{segment: db, ip: 10.0.9.6}]}
  six1: {host: kvm1, nics: [{segment: six, ip: "fd00:9::11"}]}
  six2: {host: kvm2, nics: [{segment: six, ip: "fd00:9::12"}]}
  lan1: {host: kvm1, nics: [{segment: lan, ip: 10.5.0.1/24}]}
  lan2: {host: kvm2, nics: [{segment: lan, ip: 10.5.0.2/24}]}
  flat1: {host: kvm1, nics: [{segment: flat, ip: 203.0.113.51/24}]}
  flat2: {host: kvm2, nics: [{segment: flat, ip: 203.0.113.52/24}]}
  router: {host: kvm2, nics: [{segment: flat, spoof: true}]}
"""
)


def fabric(text: str, lab: bool = False) -> Fabric:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "test.yaml"
        path.write_text(text)
        return load_fabric(str(path), lab=lab)


def facts(fabric: Fabric) -> Facts:
    """As the hosts of a lab report them: .11, .12 … and ::11, ::12 … on every physical network."""
    return Facts({
        (host.name, uplink): UplinkFact(
            names.mac("nic", f"{host.name}/{uplink}"),
            IPv4Address(f"203.0.113.{10 + number}"),
            IPv6Address(f"2001:db8::{10 + number}"),
        )
        for number, host in enumerate(fabric.hosts.values(), 1)
        for uplink in host.uplinks
    })  # fmt: skip


def world(text: str) -> World:
    made = fabric(text)
    return World(made, Compiler().compile(made, facts(made)), facts(made))
