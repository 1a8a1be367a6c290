"""The systemd units of a host (systemd.unit(5), systemd.exec(5)). Pure: text from names.

Store and controller touch a folder of their own and sockets, and are shut off from all else. The agent cannot be: systemd gives a
process that may not see all of the file system a mount namespace of its own, and network namespaces made in there
(``/run/netns``) would be seen by nobody else; guests and services live in such. It may do what it needs capabilities for and no more.
"""

from dataclasses import dataclass
from pathlib import Path

from weft.agents.keep import FOLDER
from weft.agents.ovs import HOLD, WAIT
from weft.topology.server import default_target, run_folder

FIRST = "# Made by `weft install`, removed by `weft uninstall`."
STATE = Path("/var/lib/weft")
"""Where stores' files are: they outlive a reboot."""
AGENT, STORE, CONTROLLER, HELD = "weft-agent.service", "weft-store.service", "weft-controller.service", "weft-hold.service"
NAMES = (STORE, CONTROLLER, AGENT, HELD)
STORE_PORT, CONTROLLER_PORT = 6640, 6653
HOLD_SECONDS = 30
"""How long a starting Open vSwitch waits for the agent at most."""
HOMES = (Path("/home"), Path("/root"), Path("/run/user"))

AGENT_CAPABILITIES = (
    "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE",  # links and rules; pings; DHCP and DNS
    "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_MODULE",  # namespaces; whose process it is; modprobe openvswitch
    "CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP",  # dnsmasq, a user of its own
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Role:
    """What one machine is: host `host` of a fabric, and, with `fabric`, where its store and controller run too."""

    host: str
    command: tuple[str, ...]
    """How `weft` is called."""
    store: str = ""
    """Where the agent finds the store; empty: it runs here."""
    fabric: str = ""
    listen: str = ""
    """Address at which other hosts reach store and controller; empty: they do not."""

    @property
    def database(self) -> Path:
        return STATE / self.fabric / "store.db"


def units(role: Role) -> dict[str, str]:
    """By name."""
    made = {AGENT: _agent(role), HELD: _hold(role)}
    return {STORE: _store(role), CONTROLLER: _controller(role), **made} if role.fabric else made


def _store(role: Role) -> str:
    words = ["store", "--db", str(role.database), "--listen", default_target(role.fabric)]
    words += ["--listen", f"tcp:{_bracketed(role.listen)}:{STORE_PORT}"] if role.listen else []
    return _unit(f"store of fabric {role.fabric}", "After=network.target", _service(role, words), _shut(role), "CapabilityBoundingSet=")


def _controller(role: Role) -> str:
    listen = f"tcp:{_bracketed(role.listen)}:{CONTROLLER_PORT}" if role.listen else f"unix:{run_folder(role.fabric)}/controller.sock"
    words = ["controller", "--store", default_target(role.fabric), "--listen", listen]
    after = f"Wants={STORE}\nAfter=network.target {STORE}"
    return _unit(f"controller of fabric {role.fabric}", after, _service(role, words), _shut(role), "CapabilityBoundingSet=")


def _agent(role: Role) -> str:
    words = ["agent", "--host", role.host, "--store", role.store or default_target(role.fabric)]
    after = f"Wants=openvswitch-switch.service\nAfter=openvswitch-switch.service network-pre.target {STORE}"
    families = "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET"
    # What it started goes on without it: guests ask dnsmasq while an agent is replaced.
    alone = "KillMode=process\nRestrictNamespaces=net mnt"
    return _unit(
        f"agent of host {role.host}", after, _service(role, words), alone, families,
        f"CapabilityBoundingSet={' '.join(AGENT_CAPABILITIES)}", COMMON,
    )  # fmt: skip


def _hold(role: Role) -> str:
    """Runs beside each start of Open vSwitch on a host that has something kept."""
    vsctl = "/usr/bin/ovs-vsctl --timeout=5 --no-wait"
    return "\n".join((
        FIRST,
        "[Unit]",
        "Description=weft: Open vSwitch looks at no packet until the agent is there",
        "DefaultDependencies=no",
        "After=ovsdb-server.service",
        "Before=ovs-vswitchd.service",
        f"ConditionPathExists={FOLDER / role.host / 'host.json'}",
        "",
        "[Service]",
        "Type=exec",
        f"ExecStartPre={vsctl} set Open_vSwitch . other_config:{WAIT}=true external_ids:{HOLD}=true",
        f"ExecStart=/bin/sleep {HOLD_SECONDS}",
        "# Whatever became of the agent: it never stays.",
        f"ExecStopPost={vsctl} remove Open_vSwitch . other_config {WAIT} -- remove Open_vSwitch . external_ids {HOLD}",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "RestrictAddressFamilies=AF_UNIX",
        "",
        "[Install]",
        "WantedBy=ovs-vswitchd.service",
        "",
    ))  # fmt: skip


def _unit(what: str, after: str, *service: str) -> str:
    head = (FIRST, "[Unit]", f"Description=weft: {what}", after, "StartLimitIntervalSec=0", "", "[Service]")
    return "\n".join((*head, *service, "", "[Install]", "WantedBy=multi-user.target", ""))


def _service(role: Role, words: list[str]) -> str:
    command = " ".join(map(_quoted, (*role.command, *words)))
    folders = "StateDirectory=weft\nRuntimeDirectory=weft\nRuntimeDirectoryPreserve=yes"
    return f"Type=exec\nExecStart={command}\nRestart=always\nRestartSec=1\n{folders}"


COMMON = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native"""


def _shut(role: Role) -> str:
    """What sees a folder of its own and sockets. A `weft` below somebody's home must be read there."""
    at_home = any(Path(word).is_relative_to(home) for word in role.command for home in HOMES)
    return f"""\
{COMMON}
ProtectSystem=strict
ProtectHome={"read-only" if at_home else "yes"}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
RestrictNamespaces=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0027"""


def _quoted(word: str) -> str:
    """As systemd.service(5) reads a command line."""
    plain = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$").replace('"', '\\"')
    return f'"{plain}"' if any(letter.isspace() or letter in "\"';" for letter in word) else plain


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
