"""Waits of one length share a timer; each still ends at its own time."""

import asyncio

from connectors.kafka.timeouts import Timeouts


async def test_each_wait_ends_at_its_own_time() -> None:
    timeouts, loop = Timeouts(0.2), asyncio.get_running_loop()

    async def wait(delay: float, seconds: float) -> tuple[bool, float]:
        await asyncio.sleep(delay)
        started = loop.time()
        try:
            async with asyncio.timeout(None) as timeout:
                timeouts.start(timeout)
                await asyncio.sleep(seconds)
        except TimeoutError:
            return True, loop.time() - started
        finally:
            timeouts.end(timeout)
        return False, loop.time() - started

    # The timer is set for the first, which is over before; the third starts without a timer.
    waits = [(0.0, 0.01), (0.1, 9.0), (0.15, 9.0), (0.16, 0.01), (0.7, 9.0)]
    results = await asyncio.gather(*(wait(*one) for one in waits))
    assert [expired for expired, _ in results] == [False, True, True, False, True]
    assert all(seconds >= 0.2 for expired, seconds in results if expired)
    assert not timeouts._deadlines


async def test_a_cancel_stays_a_cancel() -> None:
    timeouts, entered = Timeouts(60.0), asyncio.Event()

    async def wait() -> None:
        async with asyncio.timeout(None) as timeout:
            timeouts.start(timeout)
            entered.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await entered.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
