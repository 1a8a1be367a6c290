"""What would eat guests' traffic on its way: rules of others, and settings of the kernel."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from weft.agents.finding import Finding, Ground

OURS = ("weft",)
"""How the tables of our own begin."""


def _bridge_filter(ground: Ground) -> Iterator[Finding]:
    """Docker and firewalld set it: bridged packets go through the host's IP rules (netfilter of Linux bridges; Open vSwitch has none)."""
    if ground.text("/proc/sys/net/bridge/bridge-nf-call-iptables") == "1":
        mend = "sysctl net.bridge.bridge-nf-call-iptables=0, or rules that accept what is forwarded"
        yield Finding("br_netfilter", "warning", "frames of Linux bridges go through iptables: a bridge beside an uplink is affected", mend)


def _reverse_path(ground: Ground) -> Iterator[Finding]:
    """Strict is 1 (ip-sysctl.rst): what comes in by another way than answers would go is dropped. The highest of all and default counts."""
    strict = [path.parent.name for path in sorted(ground.at("/proc/sys/net/ipv4/conf").glob("*/rp_filter")) if path.read_text().strip() == "1"]
    if "all" in strict or "default" in strict:
        said = "strict: a host with two uplinks drops what comes by the one that it does not answer by"
        yield Finding("rp_filter", "warning", said, "sysctl net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.default.rp_filter=2")


def _rules(ground: Ground) -> Iterator[Finding]:
    """Chains of others that drop what is forwarded by default: segments with ``uplink: host`` and routed ones pass through them."""
    if ground.at("/run/firewalld").exists() or ground.runs("firewall-cmd", "--state"):
        mend = "firewall-cmd --permanent --zone=trusted --add-interface=x.host; firewall-cmd --reload"
        yield Finding("firewalld", "warning", "runs: it rejects what segments with uplink host send out", mend)
    for table, chain in dropping(ground.output("nft", "-j", "list", "chains")):
        docker = chain == "FORWARD" and ground.at("/run/docker.sock").exists()
        who = "Docker's" if docker else f"nftables' {table}"
        where = "DOCKER-USER" if docker else chain
        mend = f"iptables -I {where} -i x.host -j ACCEPT; iptables -I {where} -o x.host -j ACCEPT"
        if not docker and not table.endswith(" filter"):
            mend = f"nft insert rule {table} {chain} iifname x.host accept; nft insert rule {table} {chain} oifname x.host accept"
        yield Finding(f"forward of {table}", "warning", f"{who} {chain} drops by default: segments with uplink host reach nothing", mend)


def dropping(listed: str) -> Iterator[tuple[str, str]]:
    """Table (with its family) and chain that drop what is forwarded by default (libnftables-json(5))."""
    try:
        said: list[dict[str, Any]] = json.loads(listed)["nftables"]
    except (ValueError, KeyError):
        return
    for chain in (entry["chain"] for entry in said if "chain" in entry):
        if chain.get("hook") == "forward" and chain.get("policy") == "drop" and not chain["table"].startswith(OURS):
            yield f"{chain['family']} {chain['table']}", chain["name"]


TRAFFIC: tuple[Callable[[Ground], Iterator[Finding]], ...] = (_bridge_filter, _reverse_path, _rules)
