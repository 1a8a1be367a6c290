"""A sound file for tests to spoil."""

from weft.topology.errors import WeftError
from weft.topology.load import loads
from weft.topology.model import Fabric
from weft.topology.resolve import resolve

SOUND = """\
fabric: shop
hosts:
  kvm1: {address: 10.10.10.1/24, uplinks: {physnet: {nics: [ens1]}}}
  kvm2: {address: 10.10.10.2/24, uplinks: {physnet: {nics: [ens1]}}}
segments:
  lan: {mode: bridged, uplink: physnet, vlan: 5}
  office: {mode: nat, subnets: [192.168.122.0/24], uplink: physnet}
  db: {mode: isolated, subnets: [10.0.9.0/24]}
guests:
  web1: {host: kvm1, nics: [{segment: office, ip: 192.168.122.10}, {segment: db, ip: 10.0.9.4}]}
  db1: {host: kvm2, nics: [{segment: db, ip: 10.0.9.5}]}
"""

EVERYTHING = (
    SOUND.replace("fabric: shop", "fabric: shop\noverlay: {type: geneve}").replace("db1: {host: kvm2,", "db1: {host: kvm2, labels: {tier: db},")
    + """\
policies:
  - {name: web-to-db, allow: tcp/3306, from: web1, to: {tier: db}}
  - {name: vendor, deny: any, from: 203.0.113.7, to: web1.eth0, until: 2026-12-01T12:00Z}
invariants:
  - never: {from: outside, to: db}
  - always: {from: web1, to: db1, with: tcp/3306}
services: [{name: front, address: 192.168.122.200, listen: tcp/80, to: {tier: web}, sticky: client}]
mirrors: [{name: look, from: web1.eth0, to: db1.eth0}, {name: far, from: web1.eth0, vlan: 900}]
qos: [{endpoint: web1.eth0, direction: out, rate: 100mbit, burst: 10mbit, dscp: 46}]
monitor: {sflow: "10.0.0.9:6343", sampling: 64}
switches: {leaf1: {dpid: "0000000000000001"}, spine1: {}}
links: [[kvm1/ens1, leaf1/1], [leaf1/2, spine1/1]]
lab: {outside: 203.0.113.0/24}
"""
)


def fabric(text: str, lab: bool = False) -> Fabric:
    return resolve(loads(text, "shop.yaml"), lab)


def faults(text: str, lab: bool = False) -> list[str]:
    """What is said of a text, without the file's name."""
    try:
        fabric(text, lab)
    except WeftError as error:
        return [line.removeprefix("shop.yaml:") for line in error.lines]
    return []
