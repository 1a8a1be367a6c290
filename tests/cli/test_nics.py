"""What `weft show nics` has a row for, and what each says."""

import json

from tests.topology.sound import fabric
from tests.topology.test_pools import POOLS
from weft.cli.nics import nics

FAST = "  fast: {host: kvm1, nics: [{segment: lan, attach: {vf: ens2, link: down}}]}\n"


def test_every_function_is_shown_with_who_has_it_and_its_link_where_it_is_not_the_truth() -> None:
    found = fabric(POOLS + FAST)
    own = found.endpoints["fast.eth0"].number
    functions = [{"number": n, "pci": f"0000:01:10.{n}", "mac": f"0a:00:00:00:00:0{n}", "busy": "", "link": "auto"} for n in range(2)]
    functions[own]["link"] = "down"
    functions[1 - own]["busy"] = "guest vm9 has it"
    rows = {row["number"]: row for row in nics(found, {"kvm1": {"card/ens2": json.dumps({"functions": functions})}})}
    assert (rows[own]["endpoint"], rows[own]["link"], rows[own]["used"]) == ("fast.eth0", "down", "")
    assert (rows[1 - own]["endpoint"], rows[1 - own]["link"], rows[1 - own]["used"]) == ("", "", "guest vm9 has it")
