"""What `weft up` says when it ends."""

import asyncio

import pytest

from weft.cli.up import said
from weft.topology.errors import WeftError


async def ended_by(*errors: Exception) -> BaseException:
    async def fails(error: Exception) -> None:
        raise error

    with pytest.raises(BaseExceptionGroup) as caught:
        async with asyncio.TaskGroup() as outer:
            outer.create_task(fails(ExceptionGroup("", errors)))
    return said(caught.value)


async def test_what_ends_it_is_said_in_the_users_words_alone() -> None:
    why = WeftError("unix:/run/weft/shop/store.sock: the store does not come up")
    assert await ended_by(why) is why


async def test_what_nobody_thought_of_is_said_in_full() -> None:
    assert isinstance(await ended_by(WeftError("one"), ValueError("two")), BaseExceptionGroup)
