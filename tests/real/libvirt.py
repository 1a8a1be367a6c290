"""libvirt's own networks on a machine of their own: a private libvirtd in network and mount namespaces, guests plugged into its bridges.

Nothing of the real machine's libvirt is touched or seen: what libvirtd keeps lies in a folder that is mounted over the usual places, for it
alone. Guests are namespaces with a veth in ``virbr…``, as a tap of QEMU would be. Whatever runs in the namespaces is ours, and is ended
with them.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

PRIVATE = ("run/libvirt", "var/lib/libvirt", "etc/libvirt", "var/log/libvirt", "var/cache/libvirt", "run/dnsmasq")
FIRST = """
set -eu
for folder in {private}; do mkdir -p /$folder; mount --bind {dir}/$(echo $folder | tr / -) /$folder; done
mount --bind {dir}/passwd /etc/passwd
mount --bind {dir}/group /etc/group
echo 1 > /proc/sys/net/ipv4/ip_forward
exec libvirtd -p {dir}/libvirtd.pid
"""
DAEMON = """
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
log_outputs = "2:file:{dir}/libvirtd.log"
"""
QEMU = """
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
"""
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Net:
    """One of libvirt's networks; `guests` have fixed addresses, by name and MAC."""

    name: str
    mode: str
    network: IPv4Network
    guests: Mapping[str, tuple[str, str]]

    @property
    def bridge(self) -> str:
        return f"virbr-{self.name}"[:15]

    def xml(self) -> str:
        forward = "" if self.mode == "isolated" else f"<forward mode='{'route' if self.mode == 'routed' else self.mode}'/>"
        hosts = "".join(f"<host mac='{mac}' name='{name}' ip='{ip}'/>" for name, (mac, ip) in self.guests.items())
        first, last = self.network[100], self.network[199]
        dhcp = f"<dhcp><range start='{first}' end='{last}'/>{hosts}</dhcp>"
        ip = f"<ip address='{self.network[1]}' netmask='{self.network.netmask}'>{dhcp}</ip>"
        return f"<network><name>{self.name}</name>{forward}<bridge name='{self.bridge}' stp='off' delay='0'/>{ip}</network>"


class Libvirt:
    """The machine: namespaces ``NAME.host``, ``NAME.outside`` and ``NAME.GUEST``."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self._daemon: subprocess.Popen[bytes] | None = None

    def space(self, station: str) -> str:
        return f"{self.name}.{station}"

    def start(self, outside: str, host: str) -> None:
        """`host` and `outside`: their addresses on the wire between them, in CIDR."""
        for station in ("host", "outside"):
            run("ip", "netns", "add", self.space(station))
            run("ip", "-n", self.space(station), "link", "set", "lo", "up")
        self._cable("phys0", "outside", "")
        for station, device, address in (("host", "phys0", host), ("outside", "eth0", outside)):
            run("ip", "-n", self.space(station), "addr", "add", address, "dev", device)
        run("ip", "-n", self.space("host"), "route", "add", "default", "via", outside.partition("/")[0])
        self._libvirtd()

    def _cable(self, port: str, station: str, mac: str) -> None:
        """From `port` on the host to ``eth0`` of a station."""
        address = ("address", mac) if mac else ()
        peer = ("peer", "name", "eth0", *address, "netns", self.space(station))
        run("ip", "-n", self.space("host"), "link", "add", port, "type", "veth", *peer)
        run("ip", "-n", self.space("host"), "link", "set", port, "up")
        run("ip", "-n", self.space(station), "link", "set", "eth0", "up")

    def _libvirtd(self) -> None:
        for place in PRIVATE:
            (self.folder / place.replace("/", "-")).mkdir()
        for file, line in (("passwd", "libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin\n"), ("group", "libvirt-qemu:x:64055:\n")):
            (self.folder / file).write_text(Path("/etc", file).read_text().rstrip("\n") + "\n" + line)
        for file, text in (("libvirtd.conf", DAEMON), ("qemu.conf", QEMU)):
            (self.folder / "etc-libvirt" / file).write_text(text.format(dir=self.folder) if "{dir}" in text else text)
        script = FIRST.format(private=" ".join(PRIVATE), dir=self.folder)
        with (self.folder / "output").open("wb") as output:
            command = ("ip", "netns", "exec", self.space("host"), "bash", "-c", script)
            self._daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        end = time.monotonic() + PATIENCE
        while not (self.folder / "run-libvirt/libvirt-sock").exists():
            if self._daemon.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"libvirtd does not start: {(self.folder / 'output').read_text()}")
            time.sleep(0.05)

    def virsh(self, *words: str) -> str:
        """In libvirtd's own namespaces, as an administrator would."""
        inside = ("nsenter", "--target", (self.folder / "libvirtd.pid").read_text().strip(), "--mount", "--net")
        return run(*inside, "virsh", "--connect", "network:///system", *words)

    def add(self, net: Net) -> None:
        """Defines and starts a network, and plugs its guests in, each with its address and a default route."""
        file = self.folder / f"{net.name}.xml"
        file.write_text(net.xml())
        self.virsh("net-define", str(file))
        self.virsh("net-start", net.name)
        for guest, (mac, address) in net.guests.items():
            run("ip", "netns", "add", self.space(guest))
            run("ip", "-n", self.space(guest), "link", "set", "lo", "up")
            self._cable(f"v-{guest}", guest, mac)
            run("ip", "-n", self.space("host"), "link", "set", f"v-{guest}", "master", net.bridge)
            run("ip", "-n", self.space(guest), "addr", "add", f"{address}/{net.network.prefixlen}", "dev", "eth0")
            run("ip", "-n", self.space(guest), "route", "add", "default", "via", str(net.network[1]))

    def stop(self) -> None:
        remove(self.name)
        if self._daemon is not None:
            self._daemon.wait()


def remove(name: str) -> None:
    """Ends what runs in the namespaces of that name, and the namespaces."""
    spaces = [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.startswith(f"{name}.")]
    pids = [int(pid) for space in spaces for pid in run("ip", "netns", "pids", space).split()]
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for space in spaces:
        run("ip", "netns", "del", space)


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def libvirt(name: str, nets: tuple[Net, ...], outside: str, host: str) -> Iterator[Libvirt]:
    """The machine with its networks for as long as the block runs; one left over by a killed test run goes first."""
    remove(name)
    folder = Path(tempfile.mkdtemp(prefix="lv."))
    here = Libvirt(name, folder)
    try:
        here.start(outside, host)
        for net in nets:
            here.add(net)
        yield here
    finally:
        here.stop()
        shutil.rmtree(folder, ignore_errors=True)
