"""Events that senders push into the registries."""

from gateway.web.call import Call, Services
from gateway.web.deliveries import Taken


async def push(services: Services, call: Call) -> Taken:
    return await services.deliveries.take(call.headers, call.raw)
