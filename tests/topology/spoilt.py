"""Spoilt files and the exact lines that are said of them: what of `sound.SOUND` is replaced by what, or added at its end."""

SEGMENTS = [
    ("vlan: 5", "vlan: 5000", ['6: segment "lan": vlan 5000 is not 1-4094']),
    ("vlan: 5", "vlna: 5", ['6: segment "lan": unknown key "vlna", did you mean "vlan"?']),
    ("vlan: 5", "vlan: five", ['6: segment "lan": vlan "five" is not a whole number']),
    ("vlan: 5", "vlan: true", ['6: segment "lan": vlan true is not a whole number']),
    ("vlan: 5", "vlan: [5]", ['6: segment "lan": vlan is not a whole number']),
    (
        "mode: nat",
        "mode: nta",
        ['7: segment "office": mode "nta" is not nat, routed, bridged or isolated, did you mean "nat"?'],
    ),
    ("mode: nat, ", "", ['7: segment "office": "mode" is missing']),
    ("mode: nat", "mode: 5", ['7: segment "office": mode 5 is not nat, routed, bridged or isolated']),
    ("segments:\n", "segments: 5\nx:\n", ["5: segments 5 is not a map", '6: unknown key "x"']),
    ("fabric: shop", "fabric: 5", ['1: fabric 5 is not text: write "5" in quotes']),
    (
        "fabric: shop",
        "fabric: Shop",
        ['1: fabric "Shop" is not a name: lower case letters, digits and "-", a letter first'],
    ),
    ("fabric: shop\n", "", ['1: "fabric" is missing']),
    ("fabric: shop", "fabric: shop\nfabric: shop", ['2: "fabric" is said twice, first on line 1']),
    (
        "10.0.9.0/24",
        "10.0.9.1/24",
        ['8: segment "db": subnet 10.0.9.1/24 is an address in a network: 10.0.9.0/24 is the network'],
    ),
    ("10.0.9.0/24", "10.0.9.0", ['8: segment "db": subnet 10.0.9.0 is not a network as 192.168.122.0/24']),
    ("10.0.9.0/24", "10.0.9.0/31", ['8: segment "db": subnet 10.0.9.0/31 has no room for a gateway and a guest']),
    ("10.0.9.0/24", "224.0.0.0/24", ['8: segment "db": subnet 224.0.0.0/24 is not a network that guests can live in']),
    ("[10.0.9.0/24]", "10.0.9.0/24", ['8: segment "db": subnets 10.0.9.0/24 is not a list: write [10.0.9.0/24]']),
    ("uplink: physnet, vlan: 5", "vlan: 5", ['6: segment "lan": a bridged segment needs an uplink']),
    (
        "uplink: physnet, vlan: 5",
        "uplink: physent",
        ['6: segment "lan": no host has an uplink "physent", did you mean "physnet"?'],
    ),
    (
        "mode: isolated",
        "mode: isolated, uplink: physnet",
        ['8: segment "db": an isolated segment has no way out, and no uplink'],
    ),
    (
        "mode: isolated",
        "mode: isolated, vlan: 5",
        ['8: segment "db": vlan is the tag of a bridged segment, this one is isolated'],
    ),
    (
        "mode: nat, subnets: [192.168.122.0/24]",
        "mode: nat",
        ['7: segment "office": a nat segment needs an IPv4 subnet'],
    ),
    (
        "mode: isolated",
        "mode: isolated, gateway: 10.0.8.1",
        ['8: segment "db": gateway 10.0.8.1 is in none of its subnets'],
    ),
    (
        "mode: isolated",
        "mode: isolated, gateway: 10.0.9.255",
        ['8: segment "db": gateway 10.0.9.255 is not an address of 10.0.9.0/24 that a machine can have'],
    ),
    (
        "mode: isolated",
        "mode: isolated, gateway: [10.0.9.1, 10.0.9.2]",
        ['8: segment "db": gateway 10.0.9.2 is the second one in 10.0.9.0/24'],
    ),
    (
        "mode: isolated",
        "mode: isolated, mtu: 9000",
        ['8: segment "db": mtu 9000 is more than the 1442 that the overlay leaves'],
    ),
    ("mode: isolated", "mode: isolated, mtu: 100", ['8: segment "db": mtu 100 is not 576-9216']),
    (
        "mode: isolated",
        "mode: isolated, dhcp: {range: 10.0.8.1-10.0.8.5}",
        ['8: segment "db": dhcp range 10.0.8.1-10.0.8.5 is in none of its subnets'],
    ),
    (
        "mode: isolated",
        "mode: isolated, dhcp: {range: 10.0.9.9-10.0.9.5}",
        ['8: segment "db": dhcp range "10.0.9.9-10.0.9.5" is not a range as 192.168.122.100-192.168.122.199'],
    ),
    ("mode: isolated", "mode: isolated, dhcp: yes", ['8: segment "db": dhcp "yes" is not true or false']),
    (
        "mode: isolated",
        "mode: isolated, dhcp: {rnage: 3}",
        ['8: segment "db": unknown key "rnage" in dhcp, did you mean "range"?'],
    ),
    ("10.0.9.0/24", "10.0.9.0/24, 10.0.9.128/25", ['8: segment "db": subnet 10.0.9.128/25 overlaps 10.0.9.0/24']),
    (
        "  db: {mode: isolated, subnets: [10.0.9.0/24]}",
        "  db: {mode: nat, uplink: physnet, subnets: [10.0.9.0/24, 192.168.0.0/16]}",
        ['8: segment "db": subnet 192.168.0.0/16 overlaps 192.168.122.0/24 of segment "office" (line 7)'],
    ),
    (
        "  db:",
        "  lan2: {mode: bridged, uplink: physnet, vlan: 5}\n  db:",
        ['8: segment "lan2": vlan 5 on "physnet" is segment "lan" already (line 6)'],
    ),
]

HOSTS = [
    (
        "kvm2: {address: 10.10.10.2/24",
        "kvm2: {address: 10.10.10.1/24",
        ['4: host "kvm2": address 10.10.10.1 is host "kvm1"\'s already (line 3)'],
    ),
    (
        "kvm2: {address: 10.10.10.2/24",
        "kvm2: {address: fd00::1/64",
        ['4: host "kvm2": address fd00::1 does not fit: host "kvm1" has an IPv4 one, and tunnels need one version'],
    ),
    (
        "kvm2: {address: 10.10.10.2/24",
        "kvm2: {address: 10.10.10.2",
        ['4: host "kvm2": address 10.10.10.2 is not an address with its prefix length as 10.10.10.1/24'],
    ),
    (
        "kvm2: {address: 10.10.10.2/24, ",
        "kvm2: {",
        ['4: host "kvm2": needs an address for its tunnels: segment "db" has guests here and on "kvm1"'],
    ),
    (
        "kvm2: {address: 10.10.10.2/24, uplinks: {physnet: {nics: [ens1]}}",
        "kvm2: {uplinks: {other: {nics: [ens1]}, more: {nics: [ens1]}}",
        [
            '4: host "kvm2" uplink "more": NIC "ens1" is in uplink "other" already',
            '4: host "kvm2": needs an address for its tunnels: segment "db" has guests here and on "kvm1"',
        ],
    ),
    (
        "nics: [ens1]}}}\nseg",
        "nics: [ens1, ens2]}}}\nseg",
        ['4: host "kvm2" uplink "physnet": 2 NICs need a bond: active-backup, balance-slb or lacp'],
    ),
    (
        "nics: [ens1]}}}\nseg",
        "nics: [ens1], bond: lcap}}}\nseg",
        ['4: host "kvm2" uplink "physnet": bond "lcap" is not none, active-backup, balance-slb or lacp, did you mean "lacp"?'],
    ),
    (
        "nics: [ens1]}}}\nseg",
        "nics: [], mtu: 100000}}}\nseg",
        [
            '4: host "kvm2" uplink "physnet": mtu 100000 is not 576-9216',
            '4: host "kvm2" uplink "physnet": nics is empty',
        ],
    ),
    (
        "nics: [ens1]}}}\nseg",
        "nics: [ens1], gateway: 10.1.1.1}}}\nseg",
        ['4: host "kvm2" uplink "physnet": gateway needs an address beside it'],
    ),
    (
        "nics: [ens1]}}}\nseg",
        "nics: [ens1], address: 10.1.1.1/24, gateway: 10.1.1.1}}}\nseg",
        ['4: host "kvm2" uplink "physnet": gateway 10.1.1.1 is the uplink\'s own address'],
    ),
    (
        "nics: [ens1]}}}\nseg",
        "nics: [ens1], address: dynamic}}}\nseg",
        ['4: host "kvm2" uplink "physnet": address "dynamic" is not keep, none, dhcp or an address as 192.0.2.2/24'],
    ),
    (
        "nics: [ens1]}}}\nseg",
        "nics: [ens1], address: dhcp}}, sriov: {ens2: {vfs: 4, uplink: fysnet}}, macvtap: {ens1: {uplink: physnet}}, libvirt: qemu:///system}\nseg",
        [
            '4: host "kvm2": NIC "ens1" is in uplink "physnet" already',
            '4: host "kvm2": no host or segment has an uplink "fysnet", did you mean "physnet"?',
        ],
    ),
    (
        "nics: [ens1]}}}\nseg",
        "nics: [ens1], address: 192.168.122.7/16}}}\nseg",
        [
            '4: host "kvm2" uplink "physnet": address 192.168.122.7/16 overlaps subnet 192.168.122.0/24 of segment "office", '
            "which leaves by this uplink"
        ],
    ),
    (
        "nics: [ens1]}}}\nseg",
        "nics: [web1-eth0]}}, bridge: wx-physnet}\nseg",
        [
            '4: host "kvm2" uplink "physnet": its datapath id 266e29ea5e6bfe4d is taken: choose another name',
            '4: host "kvm2" uplink "physnet": its interface "wx-physnet" on host "kvm2" is that of line 4 already: choose another name',
        ],
    ),
]

GUESTS = [
    ("ip: 10.0.9.5", "ip: 10.0.9.500", ['11: endpoint "db1.eth0": ip 10.0.9.500 is not an IP address']),
    (
        "ip: 10.0.9.5",
        "ip: 10.0.9.5/16",
        ['11: endpoint "db1.eth0": ip 10.0.9.5/16 has another prefix length than 10.0.9.0/24 of segment "db"'],
    ),
    ("ip: 10.0.9.5", "ip: 10.0.9.4", ['11: endpoint "db1.eth0": ip 10.0.9.4 is already that of "web1.eth1"']),
    ("ip: 10.0.9.5", "ip: 10.0.9.1", ['11: endpoint "db1.eth0": ip 10.0.9.1 is the gateway\'s in segment "db"']),
    (
        "ip: 10.0.9.5",
        "ip: 10.0.9.255",
        ['11: endpoint "db1.eth0": ip 10.0.9.255 is not an address that a machine can have'],
    ),
    ("ip: 10.0.9.5", "ip: [10.0.9.5, 10.0.9.5]", ['11: endpoint "db1.eth0": ip 10.0.9.5 is said twice']),
    (
        "ip: 10.0.9.5",
        "ip: [10.0.9.6, 10.0.10.5]",
        ['11: endpoint "db1.eth0": ip 10.0.10.5 is outside 10.0.9.0/24 of segment "db"'],
    ),
    (
        "ip: 10.0.9.5",
        "mac: 01:00:5e:00:00:01",
        ['11: endpoint "db1.eth0": mac 01:00:5e:00:00:01 is a multicast address: the first byte of a NIC\'s is even'],
    ),
    ("ip: 10.0.9.5", "mac: foo", ['11: endpoint "db1.eth0": mac "foo" is not a MAC address as 52:54:00:00:09:05']),
    ("ip: 10.0.9.5", "mac: 123456", ['11: endpoint "db1.eth0": mac 123456 is not text: write "123456" in quotes']),
    ("  db1: {host: kvm2", "  db1: {host: kvm3", ['11: guest "db1": there is no host "kvm3", did you mean "kvm2"?']),
    ("  db1: {host: kvm2", "  web1: {host: kvm2", ['11: "web1" is said twice, first on line 10']),
    ("  db1: {host: kvm2", "  office: {host: kvm2", ['11: guest "office": the name belongs to the segment of line 7']),
    (
        "  db1: {host: kvm2",
        "  any: {host: kvm2",
        ['11: guest "any": "any" is a word of the language (any, outside, host)'],
    ),
    ("  db1: {host: kvm2", "  wires: {host: kvm2", ['11: guest "wires": "wires" is what the lab calls its cables']),
    (
        "  db1: {host: kvm2",
        "  Db1: {host: kvm2",
        ['11: guest "Db1": the name "Db1" is not a name: lower case letters, digits and "-", a letter first'],
    ),
    ("  db1: {host: kvm2", "  5: {host: kvm2", ['11: guest 5: the name 5 is not text: write "5" in quotes']),
    (
        "  db1: {host: kvm2",
        "  db1: {hots: kvm2",
        ['11: guest "db1": "host" is missing', '11: guest "db1": unknown key "hots", did you mean "host"?'],
    ),
    (
        "  db1: {host: kvm2",
        "  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: {host: kvm2",
        [
            '11: guest "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": the name "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" is longer than 32 characters'
        ],
    ),
    ("{segment: db, ip: 10.0.9.5}", "{segment: bd}", ['11: endpoint "db1.eth0": there is no segment "bd"']),
    ("{segment: db, ip: 10.0.9.5}", "{}", ['11: endpoint "db1.eth0": needs one of segment and trunk']),
    ("{segment: db, ip: 10.0.9.5}", "", ['11: guest "db1": nics is empty']),
    ("{segment: db, ip: 10.0.9.5}", "5", ['11: endpoint "db1.eth0": 5 is not a map']),
    (
        "{segment: db, ip: 10.0.9.5}",
        "{segment: db, attach: foo}",
        ['11: endpoint "db1.eth0": attach "foo" is not tap, libvirt or netns'],
    ),
    (
        "{segment: db, ip: 10.0.9.5}",
        "{segment: db, attach: {prot: x}}",
        [
            '11: endpoint "db1.eth0": attach needs port',
            '11: endpoint "db1.eth0": unknown key "prot" in attach, did you mean "port"?',
        ],
    ),
    (
        "{segment: db, ip: 10.0.9.5}",
        "{segment: db, attach: {vf: x}}",
        [
            '11: endpoint "db1.eth0": a virtual function is on the wire itself, and segment "db" is isolated: only a bridged one is there',
            '11: endpoint "db1.eth0": host "kvm2" has no sriov NIC "x"',
        ],
    ),
    (
        "{segment: db, ip: 10.0.9.5}",
        "{segment: db, attach: {macvtap: x}}",
        [
            '11: endpoint "db1.eth0": a macvtap is on the wire itself, and segment "db" is isolated: only a bridged one is there',
            '11: endpoint "db1.eth0": host "kvm2" has no macvtap NIC "x"',
        ],
    ),
    (
        "{segment: db, ip: 10.0.9.5}",
        "{segment: lan, ip: 10.5.0.1}",
        ['11: endpoint "db1.eth0": ip 10.5.0.1 needs its prefix length, as 10.5.0.1/24: segment "lan" has no subnets'],
    ),
    (
        "{segment: db, ip: 10.0.9.5}",
        "{trunk: {native: office, tags: {5: lan, 6: nix}}}",
        ['11: endpoint "db1.eth0": there is no segment "nix"'],
    ),
    (
        "{segment: db, ip: 10.0.9.5}",
        "{segment: db, attach: {port: a-very-long-name-it-is}}",
        [
            '11: endpoint "db1.eth0": attach port "a-very-long-name-it-is" is longer than the 15 bytes of an interface\'s name'
        ],
    ),
    (
        "10.0.9.0/24",
        "192.168.122.128/25",
        [
            '8: segment "db": subnet 192.168.122.128/25 overlaps 192.168.122.0/24 of segment "office" (line 7), '
            'and host "kvm1" has guests on both',
            '10: endpoint "web1.eth1": ip 10.0.9.4 is outside 192.168.122.128/25 of segment "db"',
            '11: endpoint "db1.eth0": ip 10.0.9.5 is outside 192.168.122.128/25 of segment "db"',
        ],
    ),
]

ADDED = [
    (
        "policies:\n  - {name: a, allow: tcp/3306, from: {tier: web}, to: dbx}\n"
        "  - {name: a, deny: tcp/99999, from: any, to: office}\n  - {name: b, from: any, to: 10.0.0.0/8}\n"
        "  - {allow: foo, from: any, to: any, until: tomorrow}",
        [
            '13: policy "a": there is no guest, endpoint, segment or host "dbx", did you mean "db"?',
            '14: policy "a": deny "tcp/99999" has a port that is not 1-65535',
            '15: policy "b": needs one of allow, deny and audit',
            '16: policy 4: "name" is missing',
            '16: policy 4: allow "foo" is not a protocol and port as tcp/443',
            '16: policy 4: until "tomorrow" is not a time as 2026-12-01T12:00Z',
        ],
    ),
    (
        "invariants:\n  - never: {from: outside, to: nobody}\n  - {}\n",
        [
            "13: invariant 1: not supported yet",
            '13: invariant 1: there is no guest, endpoint, segment or host "nobody"',
            "14: invariant 2: needs one of never and always",
        ],
    ),
    (
        "services: [{name: shop, address: 1.1.1.1, listen: tcp, to: {tier: web}, sticky: no}]",
        [
            '12: service "shop": listen "tcp" needs one port, as tcp/443',
            '12: service "shop": sticky "no" is not client',
        ],
    ),
    (
        "services: [{name: shop, address: 1.1.1.1, listen: tcp/80, to: {tier: web}}]",
        ['12: service "shop": address 1.1.1.1 is in no segment\'s subnet'],
    ),
    (
        "mirrors: [{name: m, from: web1.eth0, to: ids1.eth0}, {name: n, from: web1.eth0}]",
        [
            '12: mirror "m": there is no endpoint "ids1.eth0", did you mean "db1.eth0"?',
            '12: mirror "n": needs one of to and vlan',
        ],
    ),
    (
        "qos: [{endpoint: web1, direction: out, rate: fast, dscp: 64}]",
        ["12: qos 1: dscp 64 is not 0-63", '12: qos 1: rate "fast" is not a rate as 100mbit'],
    ),
    ("monitor: {sflow: foo}", ['12: monitor: sflow "foo" is not an address and port as 10.0.0.9:6343']),
    ("monitor: {}", ["12: monitor needs one of sflow, netflow and ipfix"]),
    (
        "switches: {leaf1: {dpid: 0000000000000001}, kvm1: {}}",
        [
            '12: switch "kvm1": not supported yet',
            '12: switch "kvm1": the name belongs to the host of line 3',
            '12: switch "leaf1": dpid 1 is not a datapath id: 16 hexadecimal digits in quotes, as "0000000000000001"',
        ],
    ),
    (
        "switches: {leaf1: {}}\nlinks: [[kvm1/ens1, leaf1/1], [leaf1/x, nix/1], [kvm1/ens9, leaf1/1], foo]",
        [
            '12: switch "leaf1": not supported yet',
            "13: link 1: not supported yet",
            '13: link 2: "leaf1/x" is not a port number of switch "leaf1"',
            "13: link 2: not supported yet",
            '13: link 2: there is no host or switch "nix"',
            '13: link 3: host "kvm1" has no NIC "ens9", did you mean "ens1"?',
            "13: link 3: not supported yet",
            '13: link 4: "foo" is not two ports as [kvm1/ens224, leaf1/1]',
        ],
    ),
    ("lab: {outside: 203.0.113.0/29}", ["12: lab: outside 203.0.113.0/29 has no address .12 for the last host"]),
    ("lab: {outside: 10.10.0.0/16}", []),
    ("lab: {outside: fd00::/64}", ["12: lab: outside fd00::/64 is not an IPv4 network"]),
    (
        "lab: {outside: 192.168.0.0/16}",
        ['7: segment "office": subnet 192.168.122.0/24 overlaps the lab\'s outside 192.168.0.0/16'],
    ),
    ("overlay: {type: stt}", ["12: overlay: stt is in no maintained kernel: use geneve"]),
    ("overlay: {type: vxlan}", []),
    ("overlay: geneve", ['12: overlay "geneve" is not a map']),
    ("overlya: 5", ['12: unknown key "overlya", did you mean "overlay"?']),
    ("guests: {}", ['12: "guests" is said twice, first on line 9']),
    ("policies:", []),
    ("5: 6", ['12: unknown key "5"']),
]
