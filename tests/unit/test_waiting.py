"""Waiting for a condition ends at its limit, whatever the condition does with being cancelled."""

import asyncio

import pytest

from tests.support.waiting import NotInTime, until


async def test_waiting_ends_although_the_condition_swallows_its_cancellation() -> None:
    swallowed = 0

    async def deaf() -> bool:
        nonlocal swallowed
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            swallowed += 1
        return False

    with pytest.raises(NotInTime, match="what never comes"):
        await until(deaf, "what never comes", 0.05)
    assert swallowed == 1


async def test_a_time_out_of_the_condition_itself_is_no_limit_of_ours() -> None:
    async def impatient() -> bool:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await until(impatient, "nothing", 60)
