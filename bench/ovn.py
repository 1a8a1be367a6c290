"""OVN as a peer: its own Open vSwitch on the userspace datapath, both databases, northd and one controller, in a network namespace.

One switch with guests behind a gateway router that translates to one address on a physical network. The daemons come unpacked from
their Debian packages (``tools/setup bench``) and are started one by one, as ovn-ctl(8) would.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real.ovs import Ovs, alive, run

PEERS = Path(__file__).parents[1] / ".peers"
NETWORK, GATEWAY, GATEWAY_MAC = "192.168.122.0/24", "192.168.122.1", "0e:0e:00:00:00:01"
PUBLIC_MAC = "0e:0e:00:00:00:02"


class Ovn:
    """OVN over `ovs`; every process of it is ended on `stop`."""

    def __init__(self, ovs: Ovs) -> None:
        self.ovs, self.at = ovs, ovs.rundir
        self.env = ovs.env | {f"OVN_{what}": str(self.at) for what in ("RUNDIR", "DBDIR", "LOGDIR", "SYSCONFDIR")}
        self.env["PATH"] = f"{PEERS}/usr/bin:{os.environ['PATH']}"
        self._started: list[str] = []

    def start(self) -> None:
        for name in ("nb", "sb"):
            file = f"{self.at}/ovn{name}.db"
            run("ovsdb-tool", "create", file, f"{PEERS}/usr/share/ovn/ovn-{name}.ovsschema")
            self._daemon(f"ovn{name}", "ovsdb-server", file, f"--remote=punix:{self.at}/ovn{name}.sock", f"--unixctl={self.at}/ovn{name}.ctl")
        north = (f"--ovnnb-db=unix:{self.at}/ovnnb.sock", f"--ovnsb-db=unix:{self.at}/ovnsb.sock")
        self._daemon("ovn-northd", "ovn-northd", *north)
        settings = {
            "system-id": "hv",
            "ovn-remote": f"unix:{self.at}/ovnsb.sock",
            "ovn-encap-type": "geneve",
            "ovn-encap-ip": "127.0.0.1",
            "ovn-bridge-datapath-type": "netdev",
            "ovn-bridge-mappings": "physnet:br-phys",
        }
        self.ovs.vsctl("set", "Open_vSwitch", ".", *(f'external_ids:{key}="{value}"' for key, value in settings.items()))
        self.ovs.vsctl("add-br", "br-phys", "--", "set", "bridge", "br-phys", "datapath_type=netdev", "fail_mode=standalone")
        self._daemon("ovn-controller", "ovn-controller", f"unix:{self.at}/db.sock")

    def _daemon(self, name: str, program: str, *words: str) -> None:
        pid = ("--detach", "--no-chdir", f"--pidfile={self.at}/{name}.pid", f"--log-file={self.at}/{name}.log", "-vconsole:off")
        run("ip", "netns", "exec", self.ovs.namespace, program, *words, *pid, env=self.env)
        self._started.append(name)

    def stop(self) -> None:
        for name in reversed(self._started):
            try:
                pid = int((self.at / f"{name}.pid").read_text())
                os.kill(pid, signal.SIGTERM)
            except (OSError, ValueError):
                continue
            while alive(pid):
                time.sleep(0.01)

    def nbctl(self, *words: str) -> str:
        return run("ovn-nbctl", f"--db=unix:{self.at}/ovnnb.sock", "--timeout=30", *words, env=self.env)

    def translate(self, public: str, prefix: int, guest: str, mac: str, port: str) -> None:
        """A switch with one guest, a gateway router, and SNAT of the switch's network to `public`."""
        self.nbctl(
            *("ls-add", "inside", "--", "ls-add", "public", "--", "lr-add", "router"),
            *("--", "set", "logical_router", "router", "options:chassis=hv"),
            *("--", "lrp-add", "router", "r-inside", GATEWAY_MAC, f"{GATEWAY}/24"),
            *("--", "lrp-add", "router", "r-public", PUBLIC_MAC, f"{public}/{prefix}"),
            *("--", "lsp-add", "inside", "inside-r", "--", "lsp-set-type", "inside-r", "router"),
            *("--", "lsp-set-addresses", "inside-r", "router", "--", "lsp-set-options", "inside-r", "router-port=r-inside"),
            *("--", "lsp-add", "public", "public-r", "--", "lsp-set-type", "public-r", "router"),
            *("--", "lsp-set-addresses", "public-r", "router", "--", "lsp-set-options", "public-r", "router-port=r-public"),
            *("--", "lsp-add", "public", "wire", "--", "lsp-set-type", "wire", "localnet"),
            *("--", "lsp-set-addresses", "wire", "unknown", "--", "lsp-set-options", "wire", "network_name=physnet"),
            *("--", "lsp-add", "inside", port, "--", "lsp-set-addresses", port, f"{mac} {guest}"),
            *("--", "lsp-set-port-security", port, f"{mac} {guest}"),
            *("--", "lr-nat-add", "router", "snat", public, NETWORK),
        )
        self.ovs.vsctl("add-port", "br-int", port, "--", "set", "interface", port, f"external_ids:iface-id={port}")
        self.nbctl("--wait=hv", "sync")


@contextmanager
def ovn() -> Iterator[Ovn]:
    with Ovs() as ovs:
        here = Ovn(ovs)
        try:
            here.start()
            _wait_for_bridge(ovs)
            yield here
        finally:
            here.stop()


def _wait_for_bridge(ovs: Ovs) -> None:
    end = time.monotonic() + 20
    while "br-int" not in ovs.vsctl("list-br").split():
        if time.monotonic() > end:
            raise RuntimeError("ovn-controller makes no bridge")
        time.sleep(0.1)
