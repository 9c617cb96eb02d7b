"""Pages that go on being told: server-sent events (WHATWG HTML, 9.2), until the browser goes or the gateway stops."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response
from msgspec import Struct, field

from gateway.observe.events import Trouble
from gateway.site.guard import HEADERS
from gateway.site.visit import Visit

MOST = 4000
"""Streams of one gateway: a county's morning, each welder with a page open."""
MOST_OF_ONE = 8
"""Streams of one account: some pages left open. Beyond it a page shows what it showed when it was opened."""


class Streams(Struct):
    """What is open: the tasks that tell, and how many each account has."""

    tasks: set["asyncio.Task[object]"] = field(default_factory=set)
    of_account: Counter[str] = field(default_factory=Counter)

    async def end(self, _: web.Application) -> None:
        """Browsers come again by themselves; the gateway waits for none of them."""
        for task in tuple(self.tasks):
            task.cancel()


STREAMS: web.AppKey[Streams] = web.AppKey("streams", Streams)


def add_to(app: web.Application) -> None:
    app[STREAMS] = streams = Streams()
    app.on_shutdown.append(streams.end)


@asynccontextmanager
async def stream(visit: Visit) -> AsyncIterator[EventSourceResponse]:
    """The open stream: whatever goes wrong with it from then on ends it, and browsers come again by themselves. Raises
    HTTPTooManyRequests."""
    streams, account_id, task = visit.request.app[STREAMS], visit.account.account_id, asyncio.current_task()
    if len(streams.tasks) >= MOST or streams.of_account[account_id] >= MOST_OF_ONE or task is None:
        raise web.HTTPTooManyRequests
    streams.tasks.add(task)
    streams.of_account[account_id] += 1
    try:
        async with sse_response(visit.request, headers=HEADERS) as opened:
            try:
                yield opened
            except ConnectionError:
                pass  # the browser has gone
            except Exception as error:  # noqa: BLE001  (a page that has begun cannot become one that excuses itself)
                visit.parts.observe(Trouble("site", f"{type(error).__name__} while a page was told on"))
    finally:
        streams.tasks.discard(task)
        streams.of_account[account_id] -= 1
        streams.of_account += Counter()  # without those who have none


def watched(visit: Visit, opened: EventSourceResponse) -> bool:
    """Whether somebody still listens. To be asked every few seconds: nobody else tells a page that its browser has
    gone, and until then the account has one stream less."""
    transport = visit.request.transport
    return opened.is_connected() and transport is not None and not transport.is_closing()
