"""The fabric of `weft up` without a file: what a new libvirt gives, kept as a file that its user may change."""

import re
from pathlib import Path

from weft.topology.errors import WeftError

FILE = Path("/etc/weft/default.yaml")

TEXT = """\
# What a new libvirt gives: one network behind this host's own address, with DHCP and DNS. weft up made this file; change it
# and run weft apply {file}, or weft up FILE with a file of your own.
#
# A guest joins through libvirt (bridge br-weft, virtualport type openvswitch with profileid default), or by hand:
#   ovs-vsctl add-port br-weft tap0 -- set interface tap0 external_ids:port-profile=default external_ids:attached-mac=MAC

fabric: default

segments:
  default:
    mode: nat
    subnets: [192.168.122.0/24]
    dhcp: {{range: 192.168.122.2-192.168.122.254}}
    dns: true
    uplink: host                # whatever way this host itself goes; no NIC is touched

hosts:
  {host}: {{}}
"""


def default_file(host: str, file: Path = FILE) -> Path:
    """The file, made where it is missing. Raises WeftError where it cannot be."""
    if not file.exists():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(TEXT.format(host=host, file=file))
        except OSError as error:
            raise WeftError(f"{file}: {(error.strerror or str(error)).lower()}") from None
    return file


def host_name(hostname: str) -> str:
    """A host's name in a fabric file from the name of a machine: ``KVM1.example.org`` is ``kvm1``."""
    name = re.sub(r"[^a-z0-9-]+", "-", hostname.partition(".")[0].lower()).strip("-")[:32].rstrip("-")
    return name if name[:1].isalpha() and name not in ("any", "outside", "host", "wires") else f"h-{name}"[:32].rstrip("-")
