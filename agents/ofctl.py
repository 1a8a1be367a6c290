"""A bridge's flows, groups and meters as ovs-ofctl(8) prints and takes them, by its management socket: no controller has a part in it."""

import subprocess
import time
from pathlib import Path

from weft.agents.keptflows import Kept, bundle, meter_numbers
from weft.topology.errors import WeftError


def ofctl(folder: Path, command: str, bridge: str, *words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """`folder`: Open vSwitch's run directory."""
    line = ["ovs-ofctl", "-OOpenFlow14", "--no-stats", command, f"unix:{folder / bridge}.mgmt", *words]
    return subprocess.run(line, input=given, capture_output=True, text=True, timeout=60, check=False)


def dumped(folder: Path, bridge: str) -> tuple[str, str, str]:
    """Meters, groups and flows. Raises WeftError where the bridge does not say (yet)."""
    return _said(folder, "dump-meters", bridge), _said(folder, "dump-groups", bridge), _said(folder, "dump-flows", bridge, "--no-names")


def lay(folder: Path, bridge: str, what: Kept) -> None:
    """Adds to a bridge, meters first, then the rest as one change. Safe to do again. Raises WeftError where the bridge does not take it."""
    there = meter_numbers(_said(folder, "dump-meters", bridge))
    for meter in what.meters:
        if not meter_numbers(meter) & there:
            _said(folder, "add-meter", bridge, meter)
    _said(folder, "bundle", bridge, "-", given=bundle(what))


def age(folder: Path, bridge: str) -> float:
    """Seconds since ovs-vswitchd made this bridge; 0: it is not there."""
    try:
        return time.time() - (folder / f"{bridge}.mgmt").stat().st_mtime
    except OSError:
        return 0.0


def _said(folder: Path, command: str, bridge: str, *words: str, given: str | None = None) -> str:
    done = ofctl(folder, command, bridge, *words, given=given)
    if done.returncode:
        raise WeftError(f"{command} of {bridge}: {(done.stderr.strip() or 'failed').splitlines()[-1]}")
    return done.stdout
