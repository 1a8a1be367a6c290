"""OpenFlow 1.3 and 1.4 as bytes: numbers, headers and the templates of the messages that are sent or read often.

Names and numbers are those of OpenFlow 1.4.1, section 7; what 1.3 has differently is said where it matters. Every template is
held against os-ken's own serialisation by `tests/controller/test_wire.py`.
"""

from collections.abc import Iterator
from struct import Struct

V1_3, V1_4 = 4, 5
VERSIONS = (V1_3, V1_4)
VERSION_TEXT = {1: "1.0", 2: "1.1", 3: "1.2", V1_3: "1.3", V1_4: "1.4", 6: "1.5"}

HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, EXPERIMENTER, FEATURES_REQUEST, FEATURES_REPLY = range(7)
SET_CONFIG, PACKET_IN, FLOW_REMOVED, PORT_STATUS, PACKET_OUT, FLOW_MOD, GROUP_MOD = 9, 10, 11, 12, 13, 14, 15
MULTIPART_REQUEST, MULTIPART_REPLY, BARRIER_REQUEST, BARRIER_REPLY = 18, 19, 20, 21
ROLE_REQUEST, ROLE_REPLY, METER_MOD, ROLE_STATUS, BUNDLE_CONTROL, BUNDLE_ADD = 24, 25, 29, 30, 33, 34

MP_DESC, MP_FLOW, MP_GROUP_DESC, MP_METER_CONFIG, MP_PORT_DESC, MP_FLOW_MONITOR = 0, 1, 7, 10, 13, 16
MORE = 1

ADD, MODIFY, DELETE, DELETE_STRICT = 0, 1, 3, 4
ANY_PORT = ANY_GROUP = ALL_GROUPS = NO_BUFFER = 0xFFFFFFFF
ALL_TABLES = 0xFF
ROLE_MASTER = 2
BUNDLE_OPEN, BUNDLE_OPENED, BUNDLE_COMMIT, BUNDLE_DISCARD = 0, 1, 4, 6
BUNDLE_FLAGS = 3
"""Atomic and ordered."""
NEVER_BUFFER = 0xFFFF
"""max_len of an output to the controller, and miss_send_len: the whole packet, please."""

HEADER = Struct("!BBHI")
MULTIPART = Struct("!BBHIHH4x")
FLOW_MOD_HEAD = Struct("!BBHIQQBBHHHIIIHHHH")
FLOW_STATS = Struct("!HBxI4xH10xQQ10xH")
"""One flow of a dump: its length, table, age in seconds, priority, cookie, packets, length of the match."""
PACKET_IN_HEAD = Struct("!BBHIIHBBQHHII")
"""A packet-in up to its first OXM, which is the 32 bits of in_port from every switch seen so far."""
PACKET_OUT_HEAD = Struct("!BBHIIIH6xHHIH6x")
BUNDLE_CONTROL_MESSAGE = Struct("!BBHIIHH")
BUNDLE_ADD_HEAD = Struct("!BBHIIHH")
ROLE_MESSAGE = Struct("!BBHII4xQ")
IN_PORT_OXM = 0x80000004
PADDING = tuple(bytes(n) for n in range(8))


class Malformed(Exception):
    """A message that contradicts itself. Whoever sent it is not believed any further."""


def pad(data: bytes) -> bytes:
    """Zeros to the next multiple of 8 (OpenFlow aligns nearly everything so)."""
    return data + PADDING[-len(data) % 8]


def message(version: int, kind: int, xid: int, body: bytes = b"") -> bytes:
    return HEADER.pack(version, kind, 8 + len(body), xid) + body


def hello(xid: int) -> bytes:
    """Offers exactly `VERSIONS`, as a bitmap (7.5.1); the header says the highest."""
    bitmap = sum(1 << version for version in VERSIONS)
    return message(max(VERSIONS), HELLO, xid, Struct("!HHI").pack(1, 8, bitmap))


def common_version(hello_message: bytes) -> int | None:
    """The highest version that both sides speak, or None. Without a bitmap the header's version and all below it are offered."""
    offered = (2 << hello_message[0]) - 2
    at = 8
    while at + 4 <= len(hello_message):
        kind, length = Struct("!HH").unpack_from(hello_message, at)
        if length < 4 or at + length > len(hello_message):
            raise Malformed("a HELLO element that lies about its length")
        if kind == 1 and length >= 8:
            (offered,) = Struct("!I").unpack_from(hello_message, at + 4)
        at += (length + 7) // 8 * 8
    return max((version for version in VERSIONS if offered >> version & 1), default=None)


def multipart_request(version: int, xid: int, kind: int, body: bytes = b"") -> bytes:
    return MULTIPART.pack(version, MULTIPART_REQUEST, 16 + len(body), xid, kind, 0) + body


def set_config(version: int, xid: int, fragments: bool = False) -> bytes:
    """`fragments`: Open vSwitch's own OFPC_FRAG_NX_MATCH, fields of the upper layer are seen in first fragments (ovs-ofctl(8), set-frags)."""
    return message(version, SET_CONFIG, xid, Struct("!HH").pack(3 if fragments else 0, NEVER_BUFFER))


def role_request(version: int, xid: int, epoch: int) -> bytes:
    return ROLE_MESSAGE.pack(version, ROLE_REQUEST, 24, xid, ROLE_MASTER, epoch)


def flow_dump(version: int, xid: int, cookie: int = 0, mask: int = 0, table: int = ALL_TABLES) -> bytes:
    """Asks for every flow of one table, or of every table, whose cookie is `cookie` under `mask`."""
    body = Struct("!B3xII4xQQHH4x").pack(table, ANY_PORT, ANY_GROUP, cookie, mask, 1, 4)
    return multipart_request(version, xid, MP_FLOW, body)


def flow_mod(version: int, xid: int, command: int, identity: tuple[int, int, bytes], cookie: int = 0, instructions: bytes = b"") -> bytes:
    """`identity` is table, priority and the match's OXMs."""
    table, priority, match = identity
    matched = 4 + len(match)
    fill = PADDING[-matched % 8]
    length = 48 + matched + len(fill) + len(instructions)
    head = FLOW_MOD_HEAD.pack(
        version, FLOW_MOD, length, xid, cookie, 0, table, command, 0, 0, priority, NO_BUFFER, ANY_PORT, ANY_GROUP, 0, 0, 1, matched
    )
    return head + match + fill + instructions


def packet_out(version: int, xid: int, in_port: int, port: int, data: bytes) -> bytes:
    head = PACKET_OUT_HEAD.pack(version, PACKET_OUT, 40 + len(data), xid, NO_BUFFER, in_port, 16, 0, 16, port, NEVER_BUFFER)
    return head + data


def bundle_control(version: int, xid: int, bundle: int, kind: int) -> bytes:
    return BUNDLE_CONTROL_MESSAGE.pack(version, BUNDLE_CONTROL, 16, xid, bundle, kind, BUNDLE_FLAGS)


def bundled(bundle: int, inner: bytes) -> bytes:
    """`inner` as a message of a bundle; both carry the same xid (7.3.9.6)."""
    version, _, length, xid = HEADER.unpack_from(inner)
    return BUNDLE_ADD_HEAD.pack(version, BUNDLE_ADD, 16 + length, xid, bundle, 0, BUNDLE_FLAGS) + inner


def ports(version: int, data: bytes) -> Iterator[tuple[str, int, int]]:
    """Name, number and config bits of every port in the body of a PORT_DESC reply or of a port-status."""
    at = 0
    while at < len(data):
        if len(data) - at < 40:
            raise Malformed("half a port")
        number, length = Struct("!IH").unpack_from(data, at)
        if version == V1_3:
            length = 64
        if length < 40 or at + length > len(data):
            raise Malformed("a port that lies about its length")
        name = data[at + 16 : at + 32].split(b"\0", 1)[0].decode(errors="replace")
        (config,) = Struct("!I").unpack_from(data, at + 32)
        yield name, number, config
        at += length
