"""New TCP connections, as many as go: ``python -m bench.connections serve|ask …``.

Each is opened, asks with one byte, gets one back and is closed by who asked. One thread, epoll, so many connections under way at a time.
"""

import argparse
import errno
import select
import socket
import time

FIRST_PORT, PORTS = 9000, 16
"""The server has several, so that the client's own ports last longer."""


def serve(args: argparse.Namespace) -> None:
    """Answers until it is ended."""
    poll = select.epoll()
    doors: dict[int, socket.socket] = {}
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        door = socket.create_server((args.address, port), backlog=4096)
        door.setblocking(False)
        doors[door.fileno()] = door
        poll.register(door, select.EPOLLIN)
    guests: dict[int, socket.socket] = {}
    print("ready", flush=True)
    while True:
        for number, event in poll.poll():
            if number in doors:
                _accept(doors[number], guests, poll)
            else:
                _answer(guests, number, event)


def _accept(door: socket.socket, guests: dict[int, socket.socket], poll: select.epoll) -> None:
    for _ in range(64):
        try:
            one, _ = door.accept()
        except OSError:
            return
        one.setblocking(False)
        guests[one.fileno()] = one
        poll.register(one, select.EPOLLIN)


def _answer(guests: dict[int, socket.socket], number: int, event: int) -> None:
    one = guests[number]
    try:
        said = b"" if event & ~select.EPOLLIN else one.recv(16)
        if said:
            one.send(said)
            return
    except OSError:
        pass
    del guests[number]
    one.close()


class Asking:
    """Connections under way, and how many have been answered."""

    def __init__(self, address: str, window: int) -> None:
        self.address, self.window = address, window
        self.poll, self.open = select.epoll(), dict[int, socket.socket]()
        self.answered = self.failed = self._port = 0

    def fill(self) -> None:
        while len(self.open) < self.window:
            one = socket.socket()
            one.setblocking(False)
            self._port = (self._port + 1) % PORTS
            code = one.connect_ex((self.address, FIRST_PORT + self._port))
            if code not in (0, errno.EINPROGRESS):
                self.failed += 1
                one.close()
                return
            self.open[one.fileno()] = one
            self.poll.register(one, select.EPOLLOUT)

    def round(self) -> None:
        for number, event in self.poll.poll(0.1):
            one = self.open[number]
            try:
                if event & select.EPOLLIN:
                    self.answered += bool(one.recv(16))
                elif event == select.EPOLLOUT:
                    one.send(b"?")
                    self.poll.modify(number, select.EPOLLIN)
                    continue
                else:
                    self.failed += 1
            except OSError:
                self.failed += 1
            del self.open[number]
            one.close()


def ask(args: argparse.Namespace) -> None:
    """Prints connections answered a second, and how many failed."""
    asking, start = Asking(args.address, args.window), time.monotonic()
    while (elapsed := time.monotonic() - start) < args.seconds and asking.answered < args.most:
        asking.fill()
        asking.round()
    print(asking.answered / elapsed, asking.failed, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, do in (("serve", serve), ("ask", ask)):
        command = commands.add_parser(name)
        command.set_defaults(do=do)
        command.add_argument("address")
        if name == "ask":
            command.add_argument("--seconds", type=float, default=10.0, help="at most")
            command.add_argument("--most", type=int, default=10_000, help="connections")
            command.add_argument("--window", type=int, default=64)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
