"""What a switch says when it refuses, in words."""

from functools import cache

NICIRA_ERRORS = 0xFFFF
_PREFIX = {"OFPET_": "", "OFPHFC_": "HELLO"}


class Refused(Exception):
    """An OpenFlow error message: type, code and the first bytes of what was refused."""

    def __init__(self, kind: int, code: int, data: bytes) -> None:
        super().__init__(kind, code)
        self.kind = kind
        self.code = code
        self.data = data

    def __str__(self) -> str:
        return words(self.kind, self.code)


@cache
def words(kind: int, code: int) -> str:
    """``BAD_ACTION, BAD_OUT_PORT``: the standard's names, by way of os-ken's list (OpenFlow 1.4.1, 7.5.4)."""
    from os_ken.ofproto import ofproto_v1_4 as names

    kinds = {number: name[6:] for name, number in vars(names).items() if name.startswith("OFPET_")}
    name = kinds.get(kind)
    if name is None:
        return f"error {kind}, {code}"
    for prefix in _code_prefixes(name):
        for known, number in vars(names).items():
            if known.startswith(prefix) and number == code:
                return f"{name}, {known.partition('_')[2]}"
    return f"{name}, {code}"


def _code_prefixes(name: str) -> tuple[str, ...]:
    """``BAD_ACTION`` has codes ``OFPBAC_…``: initials, which ROLE_REQUEST_FAILED and the like shorten in their own way."""
    initials = "".join(word[0] for word in name.removesuffix("_FAILED").split("_"))
    last = "F" if name.endswith("_FAILED") else ""
    return (f"OFP{initials}{last}C_", f"OFP{initials}C_")
