#!/bin/bash
# A bridge in no fabric becomes a learning switch: all a user types is the set-controller line.
#
# The bridge gets an Open vSwitch of its own in a network namespace, and three machines: one and two on VLAN 5, three on VLAN 6. It fails
# secure: without a controller it forwards nothing. Run this as root in the checkout. It removes everything it made.
set -euo pipefail
cd "$(dirname "$0")/.."
box=$(mktemp -d /run/weft-bare.XXXXXX)
space=$(basename "$box")
export OVS_RUNDIR=$box OVS_DBDIR=$box OVS_LOGDIR=$box

cleanup() {
  local pid name
  for pid in $(cat "$box"/*.pid 2>/dev/null) $(jobs -p); do kill "$pid" 2>/dev/null || true; done
  wait
  for name in one two three ""; do ip netns del "$space$name" 2>/dev/null || true; done
  rm -rf "$box"
}
trap cleanup EXIT

reaches() { ip netns exec "$space$1" ping -q -c 1 -W 1 "$2" >/dev/null; }
inside() { ip netns exec "$space" "$@"; }

ip netns add "$space"
inside ip link set lo up
ovsdb-tool create "$box/conf.db" /usr/share/openvswitch/vswitch.ovsschema
inside ovsdb-server "$box/conf.db" "--remote=punix:$box/db.sock" --pidfile --detach --no-chdir -vconsole:off
ovs-vsctl --no-wait init
inside ovs-vswitchd "unix:$box/db.sock" --pidfile --detach --no-chdir -vconsole:off
modprobe -q openvswitch || true
[ -e /sys/module/openvswitch ] && kind=system || kind=netdev   # the userspace datapath where the kernel has none
ovs-vsctl add-br br0 -- set bridge br0 "datapath_type=$kind" fail_mode=secure

machine() { # NAME ADDRESS VLAN
  ip netns add "$space$1"
  ip link add "$1" netns "$space" type veth peer name eth0 netns "$space$1"
  ip -n "$space" link set "$1" up
  ip -n "$space$1" address add "$2/24" dev eth0
  ip -n "$space$1" link set eth0 up
  ovs-vsctl add-port br0 "$1" "tag=$3"
}
machine one 10.5.0.1 5
machine two 10.5.0.2 5
machine three 10.5.0.3 6

reaches one 10.5.0.2 && { echo "one reaches two without a controller" >&2; exit 1; }
ip netns exec "$space" .venv/bin/weft controller --listen tcp:127.0.0.1:6653 --log warning &
ovs-vsctl set-controller br0 tcp:127.0.0.1:6653

for _ in $(seq 20); do reaches one 10.5.0.2 && break; sleep 0.2; done
if reaches one 10.5.0.2; then echo "one reaches two, on the same VLAN"; else echo "one does not reach two" >&2; exit 1; fi
if reaches one 10.5.0.3; then echo "one reaches three, on another VLAN" >&2; exit 1; else echo "one does not reach three, on another VLAN"; fi
ovs-ofctl -O OpenFlow14 dump-flows br0 --no-names
