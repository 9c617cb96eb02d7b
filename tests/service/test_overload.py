"""More than can be answered in time: refused and counted, and memory stays bounded."""

import msgspec

from tests.bench.processes import memory_mib
from tests.service import county
from tests.service.conftest import StartGateway
from tests.support.brokers import Mosquitto
from tests.support.chips import ROOT, Chips, a_request, new_id
from tests.support.waiting import eventually

LATE = "[requests]\nanswer_within_s = 1\n"
FLOOD = 6_000
"""More than the gateway takes off the broker while it cannot answer."""
GROWTH_MIB = 60.0
"""Far above what the bounded queues hold, far below what an unbounded backlog would take in the long run."""


def test_who_waited_too_long_is_refused_as_overloaded(mosquitto: Mosquitto, start_gateway: StartGateway) -> None:
    gateway = start_gateway(mosquitto.url, policy=LATE).until_ready()
    with Chips(mosquitto.port) as chips:
        chips.ask(county.machine(1), county.welder(1))
        with gateway.locked_database():
            for _ in range(2):  # what is at the database already was decided in time
                chips.request("HJ-9999", "P0001")
                gateway.settle()
            waiting = [chips.request(county.machine(number), county.welder(number)) for number in range(2, 12)]
            late = chips.is_quiet_for(2.0)
        assert late
        for number, request_id in enumerate(waiting, 2):
            content = chips.answer(county.machine(number), request_id).content
            assert [reason["code"] for reason in content["reasons"]] == ["overloaded"]
            assert gateway.sessions(county.machine(number)) == []
        counted = f'weldgate_reasons_total{{code="overloaded",division="{county.DIVISION}"}}'
        eventually(lambda: gateway.metric(counted) == len(waiting), what="counted")
        assert chips.ask(county.machine(2), county.welder(2)).outcome == "allow", "and then it goes on"
    gateway.intact()


def test_a_flood_is_answered_to_the_last_request_within_bounded_memory(
    mosquitto: Mosquitto, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(mosquitto.url, policy=LATE).until_ready()
    with Chips(mosquitto.port) as chips:
        chips.ask("HJ-9999", "P0001")
        before = memory_mib(gateway.pid)
        asked = {new_id() for _ in range(FLOOD)}
        with gateway.locked_database():
            for request_id in asked:
                chips.send(f"{ROOT}/HJ-9999/request", msgspec.json.encode(a_request("P0001", request_id, at=None)))
            assert chips.is_quiet_for(1.5)
            waiting = gateway.metric('weldgate_queue_messages{queue="inbox"}')
        eventually(lambda: asked <= chips.answered("HJ-9999"), 60, "every request answered")
        assert waiting < FLOOD, "the rest waits at the broker"
        assert memory_mib(gateway.pid) - before < GROWTH_MIB
        assert gateway.ready
    recorded = gateway.rows("SELECT count(*) AS n FROM ledger WHERE kind = 'decision'")[0]["n"]
    assert recorded == FLOOD + 1
