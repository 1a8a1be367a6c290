"""The way out through the host itself: for nat segments with ``uplink: host``, as libvirt's own NAT network has it.

A pair joins the service namespace to the host, whose kernel routes by whatever way it has (a NIC that nobody bridges, a wireless one, a
VPN) and translates to its own address. Nothing from outside finds a way in. Source: nft(8), ip-sysctl of the kernel's documentation.
"""

import subprocess
from collections.abc import Iterator

from weft.agents.links import nft, nft_comment
from weft.agents.observed import HERE
from weft.agents.service_steps import LeaveHostWay, SetHostWay
from weft.topology.errors import WeftError
from weft.topology.names import HOST_WAY, HOST_WAY_6

TABLE = "weft-way"


def host_way_digest() -> str:
    """What the host's side was last set to, whole; empty: nothing, or not to the end."""
    return nft_comment(HERE, TABLE)


def set_host_way(step: SetHostWay) -> None:
    """Brings the host's side to `step`; safe to do again. Raises WeftError with the first line of what the kernel says."""
    nft(_table(step, ""), HERE)
    for line in _settings(step):
        done = subprocess.run(line, capture_output=True, text=True, shell=True, check=False)
        if done.returncode:
            raise WeftError(f"{step.port}: {(done.stderr.strip() or line).splitlines()[0]}")
    nft(_table(step, step.digest), HERE)


def leave_host_way(step: LeaveHostWay) -> None:
    nft(f"table inet {TABLE} {{ }}\ndelete table inet {TABLE}\n", HERE)


def _settings(step: SetHostWay) -> Iterator[str]:
    yield f"echo 0 > /proc/sys/net/ipv6/conf/{step.port}/disable_ipv6 || true"
    yield f"ip address replace {HOST_WAY[0]} dev {step.port}"
    yield f"ip -6 address replace {HOST_WAY_6[0]} dev {step.port} nodad || true"
    yield f"ip link set {step.port} up"
    for network in step.networks:
        via = HOST_WAY_6[1].ip if ":" in network else HOST_WAY[1].ip
        yield f"ip route replace {network} via {via} dev {step.port}"
    yield "echo 1 > /proc/sys/net/ipv4/ip_forward"
    if any(":" in network for network in step.networks):
        yield "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"


def _table(step: SetHostWay, comment: str) -> str:
    own = str(HOST_WAY[0].network)
    masked = "".join(f'{"ip6" if ":" in n else "ip"} saddr {n} oifname != "{step.port}" masquerade\n' for n in (own, *step.networks))
    return f"""
table inet {TABLE} {{ }}
delete table inet {TABLE}
table inet {TABLE} {{
  comment "{comment}"
  chain forward {{ type filter hook forward priority filter;
    oifname "{step.port}" ct state established,related accept
    oifname "{step.port}" drop
  }}
  chain post {{ type nat hook postrouting priority srcnat;
    {masked}
  }}
}}
"""
