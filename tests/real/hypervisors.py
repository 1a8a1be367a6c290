"""A libvirtd for a host of a lab: in the host's network namespace, with files of its own and the host's Open vSwitch at the usual place.

What libvirtd keeps lies in a folder that is mounted over the usual places, for it and its guests alone. Guests are QEMU without hardware
help: busybox on Debian's own kernel (tests/vm/guest), whose console is a file here.
"""

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.real.labs import ROOT

PRIVATE = ("run/libvirt", "var/lib/libvirt", "etc/libvirt", "var/log/libvirt", "var/cache/libvirt")
FIRST = """
set -eu
for folder in {private}; do mkdir -p /$folder; mount --bind {dir}/$(echo $folder | tr / -) /$folder; done
mkdir -p /run/openvswitch
mount --bind {ovs} /run/openvswitch
mount --bind {dir}/passwd /etc/passwd
mount --bind {dir}/group /etc/group
virtlogd -d -p {dir}/virtlogd.pid
exec libvirtd -p {dir}/libvirtd.pid
"""
DAEMON = """
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
log_outputs = "2:file:{dir}/libvirtd.log"
host_uuid = "{uuid}"
"""
QEMU = """
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
"""
DOMAIN = """
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>96</memory>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{image}/vmlinuz</kernel>
    <initrd>{image}/initrd</initrd>
    <cmdline>console=ttyS0 quiet mitigations=off net.ifnames=0 {says}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact'><model>qemu64</model></cpu>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    {nics}
    <serial type='file'><source path='{console}' append='on'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
"""
NIC = "<interface type='network'><mac address='{mac}'/><source network='{network}'/>{pin}<model type='virtio'/></interface>"
PIN = "<virtualport><parameters interfaceid='{pin}'/></virtualport>"
PATIENCE = 60.0


def until(what: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


class Hypervisor:
    """One host's libvirtd. `folder` is short: a unix socket is in it."""

    def __init__(self, folder: Path, fabric: str, host: str) -> None:
        self.folder, self.fabric, self.host = folder / host, fabric, host
        self.folder.mkdir()
        for place in PRIVATE:
            (self.folder / place.replace("/", "-")).mkdir()
        for file, line in (("passwd", "libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin\n"), ("group", "libvirt-qemu:x:64055:\n")):
            known = Path("/etc", file).read_text()
            (self.folder / file).write_text(known if "\nlibvirt-qemu:" in known else known.rstrip("\n") + "\n" + line)
        etc = self.folder / "etc-libvirt"
        (etc / "libvirtd.conf").write_text(DAEMON.format(dir=self.folder, uuid=uuid.uuid4()))
        (etc / "qemu.conf").write_text(QEMU)
        (etc / "virtlogd.conf").write_text("log_level = 3\n")
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.folder}/run-libvirt/libvirt-sock"

    @property
    def runs(self) -> bool:
        return self._daemon is not None and self._daemon.poll() is None

    def start(self) -> None:
        self.launch()
        self.ready()

    def launch(self) -> None:
        script = FIRST.format(private=" ".join(PRIVATE), dir=self.folder, ovs=f"/run/weft/{self.fabric}/{self.host}")
        command = ("nsenter", f"--net=/run/netns/weft.{self.fabric}.{self.host}", "--", "unshare", "--mount", "bash", "-c", script)
        (self.folder / "run-libvirt/libvirt-sock").unlink(missing_ok=True)
        with (self.folder / "output").open("ab") as output:
            self._daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def ready(self) -> None:
        """Waits until it answers: the first time it asks QEMU what that can do, which takes some seconds."""
        assert until(self._listens), (self.folder / "output").read_text()

    def _listens(self) -> bool:
        return subprocess.run(("virsh", "-c", self.uri, "version"), capture_output=True).returncode == 0

    def kill(self) -> None:
        """Ends libvirtd, and virtlogd with it; guests live on."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait()
        end(self.folder / "virtlogd.pid")

    def sees(self, script: str) -> None:
        """Runs a script in libvirtd's own namespaces: nobody else sees what it mounts."""
        assert self._daemon is not None
        space = f"/proc/{self._daemon.pid}/ns"
        subprocess.run(("nsenter", f"--mount={space}/mnt", f"--net={space}/net", "--", "bash", "-euc", script), check=True)

    def virsh(self, *words: str, ok: bool = True) -> str:
        done = subprocess.run(("virsh", "-c", self.uri, *words), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 or not ok, f"virsh {' '.join(words)}: {done.stderr}"
        return done.stdout

    def networks(self) -> set[str]:
        """Those that run and start with libvirt."""
        return set(self.virsh("net-list", "--autostart", "--name").split())

    def define(self, name: str, nics: Mapping[str, str], says: str, pin: str = "") -> None:
        """A guest with a NIC for each MAC, plugged into that network, with that interface id, and these words on its kernel's command line."""
        pinned = PIN.format(pin=pin) if pin else ""
        plugs = "".join(NIC.format(mac=mac, network=network, pin=pinned) for mac, network in nics.items())
        console = self.folder.parent / f"{name}.console"
        console.touch()
        file = self.folder / f"{name}.xml"
        file.write_text(DOMAIN.format(name=name, image=ROOT / ".vm/guest", says=says, nics=plugs, console=console))
        self.virsh("define", str(file))

    def console(self, name: str) -> str:
        return (self.folder.parent / f"{name}.console").read_text(errors="replace")

    def beats(self, name: str) -> bool:
        """Whether a guest's own kernel goes on."""
        before = self.console(name).count("beat")
        return until(lambda: self.console(name).count("beat") > before + 1, 10)

    def qemu(self, name: str) -> int:
        return int((self.folder / f"run-libvirt/qemu/{name}.pid").read_text())

    def stop(self) -> None:
        """Ends its guests and what it started, by their ids."""
        if self._daemon is not None and self.runs:
            self._daemon.kill()
            self._daemon.wait()
        for file in (*self.folder.glob("run-libvirt/qemu/*.pid"), self.folder / "virtlogd.pid"):
            end(file)


def end(file: Path) -> None:
    """Kills the process whose id is in a file."""
    try:
        os.kill(int(file.read_text()), signal.SIGKILL)
    except (OSError, ValueError):
        return


@contextmanager
def hypervisors(folder: Path, fabric: str, *hosts: str) -> Iterator[dict[str, Hypervisor]]:
    """A libvirtd to be for each host: not started yet, since it needs the lab, whose file needs its URI."""
    subprocess.run([ROOT / "tests/vm/guest"], check=True, timeout=300)
    made = {host: Hypervisor(folder, fabric, host) for host in hosts}
    try:
        yield made
    finally:
        for each in made.values():
            each.stop()
        shutil.rmtree(folder, ignore_errors=True)
