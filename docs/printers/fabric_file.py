"""docs/fabric-file.md: docs/everything.yaml, what of it is refused so far, and every key with its type, from the pydantic models."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from docs.printers.markdown import printed_from, prose, table
from weft.topology import rules, schema
from weft.topology.errors import WeftError
from weft.topology.load import load_fabric

EVERYTHING = Path(__file__).parents[1] / "everything.yaml"

HEAD = """\
# The fabric file

One YAML file says what the network should be, on every host. Unknown keys, wrong types, dangling names and overlaps are refused
before anything is touched, each in one line, all of them at once: `weft check FILE` says them.

Names in `from` and `to`: `any`, `outside` (beyond the uplinks), `host` (a KVM host itself), a guest, an endpoint, a segment, a label
selector, a CIDR. Guests, segments, hosts and these words share one name space. Everything generated (MAC, address where a
subnet leaves it open, network id, datapath id, interface name) is derived from names: the same file gives the same result on every
machine, every time. YAML is read as YAML 1.2 has it: `no` is a word, `0x1F` a number, `012` twelve.
"""

WORDS = {
    "StrictStr": "text",
    "StrictBool": "true or false",
    "Name": "name",
    "InterfaceName": "name of an interface",
    "UserName": "name of a user or a group",
    "Ip": "address",
    "Cidr": "address with its prefix length",
    "Ips": "address, or a list of them",
    "Gateways": "address, or a list of them",
    "AddressRange": "range, as 192.0.2.10-192.0.2.99",
    "UplinkAddress": "`keep`, `none`, `dhcp`, or an address with its prefix length",
    "AnyNetwork": "network",
    "Subnet": "network",
    "NetworkV4": "IPv4 network",
    "Mac": "MAC address",
    "Vlan": "1-4094",
    "VlanKey": "1-4094",
    "Mtu": "bytes, 576-9216",
    "PortNumber": "1-65535",
    "VfCount": "0-256",
    "Dscp": "0-63",
    "Sampling": "one packet in so many",
    "Service": "service, as tcp/443, udp/6000-6100, icmp, any",
    "Listen": "protocol and one port, as tcp/443",
    "OptionValue": "text or a number",
    "Rate": "rate, as 100mbit",
    "Duration": "time, as 30s or 1h",
    "Moment": "time, as 2026-12-01T12:00Z",
    "Collector": "address and port, as 10.0.0.9:6343",
    "Dpid": "16 hexadecimal digits, in quotes",
    "Labels": "map of text to text",
    "Who": "who, see above",
    "Attach": "`tap`, `libvirt`, `netns`, or one of the maps below",
    "Link": "two ports, as [kvm1/ens224, leaf1/1]",
}
"""Type of a key, as the models name it -> how a user would."""


def text() -> str:
    whole = EVERYTHING.read_text()
    parts = [printed_from("docs/everything.yaml and topology/schema.py"), HEAD, "## Every key there is\n", f"```yaml\n{whole}```\n"]
    parts += ["## Not built yet\n", f"{NOT_YET}\n", "\n".join(f"- {line}" for line in refused()) + "\n", "## Key by key\n"]
    for module in (schema, rules):
        for node in models(module):
            doc = ast.get_docstring(node)
            parts += [f"### {heading(node.name)}\n", *([prose(doc) + "\n"] if doc else [])]
            parts.append(table(("key", "value", "default"), keys(node)))
    return "\n".join(parts)


NOT_YET = "weft reads and checks all of it, and refuses what nothing acts on yet: an accepted key is one that is acted on. Of the file above:"

SMALL = """\
fabric: small
overlay: {type: OVERLAY}
segments: {lan: {mode: isolated, subnets: [NETWORK], KEY}}
hosts: {kvm1: {address: 10.0.0.1/24, uplinks: {physnet: {nics: [NICS], address: ADDRESS}}}}
guests: {one: {host: kvm1, nics: [{segment: lan}]}}
"""
USUAL = {"OVERLAY": "geneve", "NETWORK": "10.1.0.0/24", "KEY": "", "NICS": "eth1", "ADDRESS": "keep"}
UNUSUAL = (
    *(("OVERLAY", word) for word in ("vxlan", "gre")),
    *(("KEY", word) for word in ("span: host", "private: true", "host: true", "multicast: snoop", "qinq: true")),
    ("NICS", "eth1, eth2"),
    ("ADDRESS", "dhcp"),
)
"""What the whole file cannot say beside what it says, one at a time."""


def refused() -> list[str]:
    """What of the whole file, and of a small one with one unusual thing in it, weft refuses; anything but for want of code is a mistake."""
    faults = faults_of(EVERYTHING.read_text())
    wrong = [fault for fault in faults if "not supported yet" not in fault]
    if wrong:
        raise ValueError(f"{EVERYTHING.name} is wrong: {wrong}")
    more = [fault for change in UNUSUAL for fault in faults_of(small(*change)) if "not supported yet" in fault]
    return [f"line {fault}" for fault in faults] + [f"also: {fault.partition(': ')[2]}" for fault in more]


def small(mark: str, word: str) -> str:
    """The small file with another word at one mark."""
    text = SMALL
    for place, usual in USUAL.items():
        text = text.replace(place, word if place == mark else usual)
    return text


def faults_of(fabric: str) -> list[str]:
    """``LINE: sentence`` for everything weft refuses in a fabric file."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "fabric.yaml"
        file.write_text(fabric)
        try:
            load_fabric(str(file))
        except WeftError as error:
            return [line.removeprefix(f"{file}:") for line in error.lines]
    return []


def models(module: ModuleType) -> Iterator[ast.ClassDef]:
    body = ast.parse(inspect.getsource(module)).body
    found = [node for node in body if isinstance(node, ast.ClassDef) and node.name != "Strict"]
    yield from sorted(found, key=lambda node: node.name != "FabricFile")


def heading(name: str) -> str:
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    return words[0].upper() + words[1:]


def keys(model: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    for node in model.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, default = node.target.id, node.value
            if isinstance(default, ast.Call) and called(default) == "key":  # key("from", default=None): the file's word for it
                name = ast.literal_eval(default.args[0])
                default = next((word.value for word in default.keywords if word.arg == "default"), None)
            yield f"`{name}`", words(node.annotation), said(default)


def called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def said(default: ast.expr | None) -> str:
    if default is None:
        return "must be given"
    if isinstance(default, ast.Attribute):
        return f"`{getattr(schema.s, default.attr)}`"
    value = ast.literal_eval(default) if not isinstance(default, ast.Call) else None
    return f"`{str(value).lower()}`" if value or value is False else ""


def words(kind: ast.expr) -> str:
    """A type annotation in words."""
    match kind:
        case ast.Name(name) | ast.Attribute(attr=name):
            return WORDS.get(name) or f"[{heading(name).lower()}](#{heading(name).lower().replace(' ', '-')})"
        case ast.BinOp(left, ast.BitOr(), right):
            options = [words(option) for option in (left, right) if not isinstance(option, ast.Constant)]
            return ", or ".join(options)
        case ast.Subscript(ast.Name("Literal"), ast.Tuple(choices)):
            return " | ".join(f"`{choice.value}`" for choice in choices if isinstance(choice, ast.Constant))
        case ast.Subscript(ast.Name("Literal"), ast.Constant(choice)):
            return f"`{choice}`"
        case ast.Subscript(ast.Name("Annotated"), ast.Tuple([inner, *_])):
            return words(inner)
        case ast.Subscript(ast.Name("tuple"), ast.Tuple([inner, *_])):
            return f"list: {words(inner)}"
        case ast.Subscript(ast.Name("dict"), ast.Tuple([names, inner])):
            return f"map: {words(names)} to {words(inner)}"
    raise ValueError(f"no words for {ast.unparse(kind)}")
