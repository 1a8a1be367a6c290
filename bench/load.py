"""Emulated switches that shake hands as a real one does, send packet-ins and count what comes back.

``python -m bench.load PORT SWITCHES SECONDS [--window 32]`` prints one line of JSON: replies, seconds, and how many packet-ins stayed without
an answer. Each switch first lets a few hosts speak, so that the controller knows them; then it keeps a window of packet-ins between known
hosts in flight. A packet-in is answered by a packet-out, with or without a flow before it.
"""

import argparse
import json
import select
import socket
import struct
import time
from collections import deque

HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, FEATURES_REQUEST, FEATURES_REPLY, GET_CONFIG, CONFIG_REPLY = 0, 1, 2, 3, 5, 6, 7, 8
PACKET_IN, PACKET_OUT, FLOW_MOD, MULTIPART_REQUEST, MULTIPART_REPLY, BARRIER_REQUEST, BARRIER_REPLY, ROLE_REQUEST, ROLE_REPLY = (
    10, 13, 14, 18, 19, 20, 21, 24, 25,
)  # fmt: skip
MP_DESC, MP_PORT_DESC = 0, 13
VERSION = 4
"""OpenFlow 1.3, which both controllers speak."""
PORTS = 4
HOSTS = 16
BLOCK = 512
"""Packet-ins ready to be sent, over and over."""
HANDSHAKE_SECONDS = 30
DRAIN_SECONDS = 10


def message(kind: int, xid: int, body: bytes = b"") -> bytes:
    return struct.pack("!BBHI", VERSION, kind, 8 + len(body), xid) + body


def mac(switch: int, host: int) -> bytes:
    return struct.pack("!BBHH", 0x0A, 0, switch, host)


def packet_in(port: int, target: bytes, source: bytes) -> bytes:
    frame = target + source + b"\x08\x00" + bytes(46)
    return message(PACKET_IN, 0, struct.pack("!IHBBQHHIIxxxxxx", 0xFFFFFFFF, len(frame), 0, 0, 0, 1, 12, 0x80000004, port) + frame)


def port_desc(number: int) -> bytes:
    name = f"port{number}".encode().ljust(16, b"\0")
    return struct.pack("!I4x6s2x16s8I", number, mac(0xFFFF, number), name, 0, 4, 0, 0, 0, 0, 0, 0)


class Switch:
    """One emulated switch."""

    def __init__(self, number: int, address: tuple[str, int]) -> None:
        self.number = number
        self.socket = socket.create_connection(address, 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.sent = self.answered = 0
        self.asked: set[int] = set()
        self._rest = b""
        self._out: deque[bytes] = deque()
        hosts = [(1 + host % PORTS, mac(number, host)) for host in range(HOSTS)]
        self.greetings = b"".join(packet_in(port, b"\xff" * 6, one) for port, one in hosts)
        pairs = [(hosts[n % HOSTS], hosts[(n + 1 + n // HOSTS % (PORTS - 1)) % HOSTS][1]) for n in range(BLOCK)]
        block = [packet_in(port, target, source) for (port, source), target in pairs]
        self._size = len(block[0])
        self._block = memoryview(b"".join(block) * 2)
        self._next = 0
        self.write(message(HELLO, 1))

    @property
    def ready(self) -> bool:
        """Asked for its features, and told what to do with packets that match nothing: the controller counts it as its own."""
        return {FEATURES_REQUEST, FLOW_MOD} <= self.asked

    def write(self, data: bytes | memoryview) -> None:
        if self._out:
            self._out.append(bytes(data))
            return
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._out.append(bytes(data[sent:]))

    def flush(self) -> bool:
        """Sends what waits; True: nothing is left."""
        while self._out:
            data = self._out.popleft()
            try:
                sent = self.socket.send(data)
            except BlockingIOError:
                sent = 0
            if sent < len(data):
                self._out.appendleft(data[sent:])
                return False
        return True

    def ask(self, count: int) -> None:
        """Sends `count` more packet-ins, at most `BLOCK`."""
        begin = self._next
        self._next = (begin + count) % BLOCK
        self.sent += count
        self.write(self._block[begin * self._size : (begin + count) * self._size])

    def read(self) -> int:
        """How many packet-outs came."""
        data = self._rest + self.socket.recv(1 << 18)
        if len(data) == len(self._rest):
            raise ConnectionError(f"switch {self.number}: the controller closed the connection")
        at, most, count = 0, len(data), 0
        while most - at >= 8:
            end = at + (data[at + 2] << 8 | data[at + 3])
            if end > most:
                break
            kind = data[at + 1]
            if kind == PACKET_OUT:
                count += 1
            elif kind != FLOW_MOD or not self.ready:
                self._control(kind, data[at:end])
            at = end
        self._rest = data[at:]
        self.answered += count
        return count

    def _control(self, kind: int, request: bytes) -> None:
        xid = int.from_bytes(request[4:8], "big")
        self.asked.add(kind)
        if kind == ECHO_REQUEST:
            self.write(message(ECHO_REPLY, xid, request[8:]))
        elif kind == FEATURES_REQUEST:
            self.write(message(FEATURES_REPLY, xid, struct.pack("!QIBB2xII", 0xBE00000000 + self.number, 0, 254, 0, 0x4F, 0)))
        elif kind == GET_CONFIG:
            self.write(message(CONFIG_REPLY, xid, struct.pack("!HH", 0, 0xFFFF)))
        elif kind == MULTIPART_REQUEST:
            self._multipart(xid, request)
        elif kind == BARRIER_REQUEST:
            self.write(message(BARRIER_REPLY, xid))
        elif kind == ROLE_REQUEST:
            self.write(message(ROLE_REPLY, xid, request[8:]))

    def _multipart(self, xid: int, request: bytes) -> None:
        kind = int.from_bytes(request[8:10], "big")
        body = b""
        if kind == MP_DESC:
            body = b"weft bench".ljust(256, b"\0") + bytes(256 + 256 + 32 + 256)
        elif kind == MP_PORT_DESC:
            body = b"".join(port_desc(number) for number in range(1, PORTS + 1))
        self.write(message(MULTIPART_REPLY, xid, request[8:10] + bytes(6) + body))


class Load:
    """All switches against one controller."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self.switches = [Switch(number, address) for number in range(1, count + 1)]
        self._by_number = {switch.socket.fileno(): switch for switch in self.switches}
        self._poll = select.epoll()
        for number in self._by_number:
            self._poll.register(number, select.EPOLLIN)

    def round(self, more: int = 0) -> None:
        """Reads whoever has something; with `more`, sends as many packet-ins as were answered."""
        for number, _ in self._poll.poll(0.2):
            switch = self._by_number[number]
            count = switch.read()
            if count and more:
                while count > 0:
                    switch.ask(min(count, BLOCK))
                    count -= BLOCK
            switch.flush()

    def begin(self) -> None:
        """Handshakes, then lets every host speak once."""
        end = time.monotonic() + HANDSHAKE_SECONDS
        while not all(switch.ready for switch in self.switches):
            self.round()
            if time.monotonic() > end:
                waiting = sum(not switch.ready for switch in self.switches)
                raise TimeoutError(f"{waiting} of {len(self.switches)} switches got no handshake")
        self._settle(0.3)
        for switch in self.switches:
            switch.answered, switch.sent = 0, HOSTS
            switch.write(switch.greetings)
        self.drain()

    def _settle(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.round()

    def drain(self) -> int:
        """Waits for the outstanding answers; how many never came."""
        end = time.monotonic() + DRAIN_SECONDS
        while (lost := sum(switch.sent - switch.answered for switch in self.switches)) and time.monotonic() < end:
            self.round()
        return lost

    def run(self, window: int, seconds: float) -> dict[str, float]:
        before = sum(switch.answered for switch in self.switches)
        start = time.monotonic()
        for switch in self.switches:
            switch.ask(window)
        while (elapsed := time.monotonic() - start) < seconds:
            self.round(1)
        answered = sum(switch.answered for switch in self.switches) - before
        return {"replies": answered, "seconds": elapsed, "lost": self.drain()}

    def close(self) -> None:
        for switch in self.switches:
            switch.socket.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("switches", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--window", type=int, default=32)
    args = parser.parse_args()
    load = Load(("127.0.0.1", args.port), args.switches)
    load.begin()
    print(json.dumps(load.run(args.window, args.seconds)))
    load.close()


if __name__ == "__main__":
    main()
