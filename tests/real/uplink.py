"""A host whose store is behind its only way out: a namespace with an Open vSwitch of its own, NICs, and `far` at their other ends."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.real.labs import WEFT
from tests.real.ovs import Ovs, run
from weft.cli.changes import propose
from weft.topology import server
from weft.topology.ovsdb import Client
from weft.topology.store import states, write

FAR, BEYOND = "203.0.113.1", "198.18.0.1"
STORE = f"tcp:{BEYOND}:6641"
FILE = """
fabric: ulf
segments:
  db: {{mode: isolated, subnets: [10.0.9.0/24]}}
hosts:
  kvm1: {{uplinks: {{{uplinks}}}}}
"""


class Uplinked:
    """`nic0` and `nic1` lead to `far`'s bridge, `nic2` to nowhere. The agent runs by `start`, and is killed by `kill`."""

    def __init__(self, ovs: Ovs, within: float) -> None:
        self.ovs, self.within = ovs, within
        self.folder = Path(tempfile.mkdtemp(prefix="ul."))
        self.far, self.nowhere = f"{ovs.namespace}.far", f"{ovs.namespace}.nowhere"
        self.far_of_nics = self.far
        self._processes: list[subprocess.Popen[bytes]] = []
        self.agent: subprocess.Popen[bytes] | None = None

    def wire(self) -> None:
        for space in (self.far, self.nowhere):
            run("ip", "netns", "add", space)
        for nic, space in (("nic0", self.far), ("nic1", self.far), ("nic2", self.nowhere)):
            run("ip", "link", "add", nic, "netns", self.ovs.namespace, "type", "veth", "peer", "name", f"{nic}-far", "netns", space)
            run("ip", "-n", space, "link", "set", f"{nic}-far", "up")
            self.ovs.inside("ip", "link", "set", nic, "up")
        for line in (
            "link add br0 address 02:00:00:00:00:fa type bridge forward_delay 0 mcast_snooping 0",
            "link set nic0-far master br0", "link set nic1-far master br0",
            f"address add {FAR}/24 dev br0", "link set br0 up", "link set lo up", f"address add {BEYOND}/32 dev lo",
        ):  # fmt: skip
            run("ip", "-n", self.far, *line.split())
        for device in ("br0", "nic0-far", "nic1-far"):  # no checksum is left to hardware that is not there
            run("ip", "netns", "exec", self.far, "ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off")
        self.ovs.inside("ip", "address", "add", "203.0.113.11/24", "brd", "+", "dev", "nic0")
        self.ovs.inside("ip", "route", "add", "default", "via", FAR, "metric", "7")
        self.ovs.inside("ip", "route", "add", "192.0.2.0/24", "via", "198.51.100.1", "dev", "nic0", "onlink", "metric", "42")
        server.prepare(self.folder / "store.db")
        words = server.command(self.folder / "store.db", [STORE, f"unix:{self.folder}/store.sock"])
        self._processes.append(subprocess.Popen(["ip", "netns", "exec", self.far, *words], stderr=subprocess.DEVNULL))
        until(lambda: (self.folder / "store.sock").exists())

    def start(self, *options: str, within: float = 0) -> None:
        env = {key: value for key, value in self.ovs.env.items() if key != "SSH_CONNECTION"}
        words = ["agent", "--host", "kvm1", "--store", STORE, "--within", str(within or self.within)]
        words += ["--ovsdb", f"unix:{self.ovs.rundir}/db.sock"]
        inside = ["nsenter", f"--net=/run/netns/{self.ovs.namespace}", "--"]
        with (self.folder / "agent.log").open("ab") as log:
            command = [*inside, str(WEFT), *words, "--state", str(self.folder), *options]
            self.agent = subprocess.Popen(command, env=env, stdout=log, stderr=log)

    def adopt(self) -> None:
        """The host's address is on its bridge, and the agent away again."""
        self.apply("physnet: {nics: [nic0]}")
        self.start(within=30)
        until(lambda: self.state().get("state") == "wired")
        self.kill()

    def kill(self) -> None:
        if self.agent is not None:
            self.agent.kill()
            self.agent.wait()

    def close(self) -> None:
        self.kill()
        for process in self._processes:
            process.terminate()
            process.wait()
        for space in (self.far, self.nowhere):
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def apply(self, uplinks: str) -> int:
        """What the host should have from now on; gives its serial."""
        file = self.folder / "fabric.yaml"
        file.write_text(FILE.format(uplinks=uplinks))
        proposal = propose(str(file), lab=False)
        work = lambda client: write(client, proposal.intent, proposal.hosts, "apply")  # noqa: E731
        return int(asyncio.run(_with(self._socket, work)))

    def state(self) -> dict[str, Any]:
        told = asyncio.run(_with(self._socket, states))
        return json.loads(told.get("kvm1", {}).get("uplink/physnet", "{}"))  # type: ignore[no-any-return]

    def settled(self) -> str:
        """What its uplink was last found good with."""
        return self.ovs.vsctl("--if-exists", "get", "bridge", "wx-physnet", "external_ids:weft-uplink").replace("\\", "")

    @property
    def _socket(self) -> str:
        return f"unix:{self.folder}/store.sock"

    def network(self) -> dict[str, object]:
        """Everything about how this host is reached, in words that are the same when it is."""
        links = {link["ifname"]: link for link in json.loads(self.ovs.inside("ip", "-json", "address"))}
        found: dict[str, object] = {
            name: (link["mtu"], "UP" in link["flags"], _global(link))
            for name, link in links.items()
            if name in ("nic0", "nic1", "nic2", "wx-physnet")
        }
        routes = self.ovs.inside("ip", "route", "show", "table", "all").splitlines()
        found["routes"] = sorted(line.strip() for line in routes if "table local" not in line and "fe80:" not in line)
        found["deaf"] = sorted(line.strip() for line in self._nft() if "device" in line and '"nic' in line)
        found["ports"] = sorted(self.ovs.vsctl("list-ports", "wx-physnet").split()) if "wx-physnet" in self.ovs.vsctl("list-br") else None
        return found

    def _nft(self) -> list[str]:
        with contextlib.suppress(RuntimeError):
            return self.ovs.inside("nft", "list", "table", "netdev", "weft").splitlines()
        return []

    def reaches(self, address: str = BEYOND) -> bool:
        done = subprocess.run(
            ["ip", "netns", "exec", self.ovs.namespace, "ping", "-c", "1", "-W", "1", address], check=False, capture_output=True
        )
        return done.returncode == 0

    def told(self) -> dict[str, Any]:
        """What was put back; empty: nothing that is remembered."""
        try:
            return json.loads((self.folder / "put-back.json").read_text())[0]  # type: ignore[no-any-return]
        except FileNotFoundError:
            return {}


def _global(link: dict[str, Any]) -> list[str]:
    return sorted(f"{each['local']}/{each['prefixlen']}" for each in link["addr_info"] if each["scope"] == "global")


async def _with(target: str, work: Any) -> Any:
    client = await Client.connect(target)
    try:
        return await work(client)
    finally:
        await client.close()


@contextlib.contextmanager
def uplinked(within: float) -> Iterator[Uplinked]:
    with Ovs() as ovs:
        here = Uplinked(ovs, within)
        try:
            here.wire()
            yield here
        finally:
            here.close()


def until(holds: Any, seconds: float = 60) -> None:
    """Waits for it; raises AssertionError after a time that is no measure of anything."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)
