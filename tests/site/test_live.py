"""What is on record is told to who watches, whoever wrote it, once, in order, and only what they asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.observe.events import Committed
from gateway.site import live
from gateway.site.live import KEPT, Follower
from gateway.store.following import Line, latest, lines_after
from gateway.store.ledger import Draft, append_to
from tests.site.served import Town

WITHIN_S = 5.0


def write(site: Town, *machines: str, kind: str = "event") -> None:
    with site.engine.begin() as connection:
        for machine_id in machines:
            append_to(connection, Draft(kind, site.clock.now, b'{"n":1}', machine_id))  # type: ignore[arg-type]


@asynccontextmanager
async def following(site: Town) -> AsyncIterator[Follower]:
    follower = Follower(site.parts)
    task = asyncio.create_task(follower.run(), name="follower")
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def told(queue: "asyncio.Queue[Line]", count: int) -> list[str | None]:
    async with asyncio.timeout(WITHIN_S):
        return [(await queue.get()).machine_id for _ in range(count)]


async def test_watchers_hear_what_they_asked_for_and_nothing_from_before(site: Town) -> None:
    write(site, "HJ-0001")
    async with following(site) as follower:
        seq = await site.parts.read(latest)
        with (
            follower.watch(lambda line: line.machine_id == "HJ-0001", seq) as one,
            follower.watch(lambda _: True, seq) as everything,
        ):
            write(site, "HJ-0001", "HJ-0002", "HJ-0001")
            assert await told(everything, 3) == ["HJ-0001", "HJ-0002", "HJ-0001"]
            assert await told(one, 2) == ["HJ-0001", "HJ-0001"]
            write(site, "HJ-0003")
            assert await told(everything, 1) == ["HJ-0003"]
            assert one.empty()


async def test_who_comes_late_hears_what_was_written_since_its_page_was_read(site: Town) -> None:
    async with following(site) as follower:
        seq = await site.parts.read(latest)
        with follower.watch(lambda _: True, seq) as early:
            write(site, "HJ-0001", "HJ-0002")
            assert await told(early, 2) == ["HJ-0001", "HJ-0002"]
            with follower.watch(lambda _: True, seq + 1) as late:
                assert await told(late, 1) == ["HJ-0002"]
            await asyncio.sleep(0)
            assert early.empty(), "nobody hears anything twice"


async def test_who_watches_one_machine_hears_of_no_other(site: Town) -> None:
    async with following(site) as follower:
        seq = await site.parts.read(latest)
        with follower.watch(lambda _: True, seq, "HJ-0002") as one, follower.watch(lambda _: True, seq) as everything:
            write(site, "HJ-0001", "HJ-0002", "HJ-0001", "HJ-0002")
            assert await told(everything, 4) == ["HJ-0001", "HJ-0002", "HJ-0001", "HJ-0002"]
            assert await told(one, 2) == ["HJ-0002", "HJ-0002"]
            write(site, "HJ-0002")
            assert await told(one, 1) == ["HJ-0002"]


async def test_who_begins_to_watch_while_records_are_read_misses_none(
    site: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with following(site) as follower:
        seq = await site.parts.read(latest)
        with follower.watch(lambda _: True, seq) as early:
            write(site, "HJ-0001")
            assert await told(early, 1) == ["HJ-0001"]
            reading, read_on = asyncio.Event(), asyncio.Event()

            def held(*asked: Any) -> list[Line]:
                loop.call_soon_threadsafe(reading.set)
                asyncio.run_coroutine_threadsafe(read_on.wait(), loop).result(WITHIN_S)
                return lines_after(*asked)

            loop = asyncio.get_running_loop()
            monkeypatch.setattr(live, "lines_after", held)
            write(site, "HJ-0002")
            await reading.wait()
            with follower.watch(lambda _: True, seq) as late:
                read_on.set()
                assert await told(late, 2) == ["HJ-0001", "HJ-0002"]
            assert await told(early, 1) == ["HJ-0002"]


async def test_a_commit_of_this_process_is_told_at_once(site: Town) -> None:
    async with following(site) as follower:
        with follower.watch(lambda _: True, await site.parts.read(latest)) as queue:
            await asyncio.sleep(0.05)
            write(site, "HJ-0001")
            follower(Committed(1, 1, 0.001, 1))
            async with asyncio.timeout(0.5):
                assert bytes((await queue.get()).body) == b'{"n":1}'


async def test_who_does_not_listen_loses_the_oldest_and_holds_up_nobody(site: Town) -> None:
    async with following(site) as follower:
        seq = await site.parts.read(latest)
        with (
            follower.watch(lambda _: True, seq) as slow,
            follower.watch(lambda line: line.seq > seq + KEPT, seq) as other,
        ):
            write(site, *["HJ-0001"] * KEPT, *["HJ-0002"] * 3)
            assert await told(other, 3) == ["HJ-0002"] * 3
            assert slow.qsize() == KEPT
            assert (await slow.get()).seq == seq + 4
