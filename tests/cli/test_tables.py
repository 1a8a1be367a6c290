"""Rows for people, and what they are folded to."""

import contextlib
import io

import pytest

from weft.cli.tables import show

LONG = "a reason " * 30


def shown(*rows: dict[str, object]) -> list[str]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        show(rows, as_json=False)
    return out.getvalue().splitlines()


def test_a_row_in_a_pipe_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    head, row = shown({"guest": "web1", "reason": LONG})
    assert head.split() == ["guest", "reason"] and LONG.strip() in row


def test_a_column_that_is_empty_everywhere_is_left_out() -> None:
    assert shown({"guest": "web1", "reason": ""})[0].split() == ["guest"]
