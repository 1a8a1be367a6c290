"""How a lab comes up."""

import socket
from pathlib import Path

from weft.agents.lab import answers


def test_a_server_answers_once_it_listens_and_not_when_its_socket_is_there(tmp_path: Path) -> None:
    door = tmp_path / "door.sock"
    with socket.socket(socket.AF_UNIX) as server:
        assert not answers(door)
        server.bind(str(door))
        assert not answers(door)
        server.listen()
        assert answers(door)
