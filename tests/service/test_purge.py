"""A purge beside a running gateway: nobody waits for it, and a request whose record is gone opens nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from gateway.clock import now_ms
from gateway.keys import open_keys
from gateway.store.engine import open_engine
from gateway.store.journal import Batch, Journal
from gateway.store.purge import DAY_MS
from gateway.wire.tokens import Verifier
from tests.service.conftest import Prepared, StartGateway
from tests.store.databases import decision
from tests.support.brokers import Mosquitto
from tests.support.chips import Chips
from tests.support.gateway import Gateway, weldgate

DAYS = 60
POLICY = "[retention]\nledger_days = 30\n"
LONG_AGO = now_ms() - DAYS * DAY_MS + 3_600_000


def request_of(day: int) -> str:
    return f"request-of-day-{day:04}"


@dataclass
class Aged:
    """A gateway with sixty days behind it, as the ledger tells."""

    gateway: Gateway
    chips: Chips

    def purge(self) -> None:
        policy = ("--policy", str(self.gateway.policy))
        done = weldgate("purge", "--by", "Wang An", "--reason", "保存期满", "--database", self.gateway.url, *policy)
        assert done.returncode == 0, done.stderr

    def verified(self) -> str:
        done = self.gateway.audit("verify")
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def database(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aged") / "aged.db"
    path.write_bytes(prepared.database.read_bytes())
    engine = open_engine(f"sqlite:///{path}")
    with engine.begin() as connection:  # the county's import, which was just now
        for table in ("ledger", "ledger_head"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    journal = Journal(engine.dialect, open_keys(prepared.keys).signer())
    with engine.connect() as connection:
        for day in range(DAYS):
            drafts = [decision(request_of(day), at=LONG_AGO + day * DAY_MS)]
            journal.commit(connection, Batch(drafts))
    engine.dispose()
    return path


@pytest.fixture(scope="module")
def aged(database: Path, mosquitto_of_module: Mosquitto, start_gateway_of_module: StartGateway) -> Iterator[Aged]:
    gateway = start_gateway_of_module(mosquitto_of_module.url, database=database, policy=POLICY).until_ready()
    with Chips(mosquitto_of_module.port) as chips:
        old = Aged(gateway, chips)
        assert chips.codes("HJ-0002", "P0002") == []
        old.purge()
        yield old


def test_the_gateway_goes_on_and_the_chain_is_whole(aged: Aged) -> None:
    assert "(up to record 30 purged)" in aged.verified()
    assert aged.chips.codes("HJ-0003", "P0003") == []
    assert "(up to record 30 purged)" in aged.verified()


def test_a_repeat_of_what_is_still_on_record_gets_the_same_bytes(aged: Aged) -> None:
    aged.chips.request("HJ-0001", "P0001", request_of(DAYS - 5))
    assert aged.chips.answer("HJ-0001", request_of(DAYS - 5)).content["reasons"][0]["code"] == "operator_blocked"
    assert len(aged.gateway.decisions(request_of(DAYS - 5))) == 1


def test_invariant_a_repeat_of_a_purged_request_is_stale(aged: Aged) -> None:
    aged.chips.request("HJ-0001", "P0001", request_of(1), at=LONG_AGO + DAY_MS)
    answer = aged.chips.answer("HJ-0001", request_of(1)).content
    assert (answer["outcome"], [reason["code"] for reason in answer["reasons"]]) == ("deny", ["request_stale"])


def test_invariant_without_a_clock_it_is_for_a_challenge_that_its_chip_has_long_replaced(
    aged: Aged, prepared: Prepared
) -> None:
    aged.chips.request("HJ-0001", "P0001", request_of(2), at=None, challenge="of-sixty-days-ago")
    answer = aged.chips.answer("HJ-0001", request_of(2)).content
    verifier = Verifier(msgspec.json.decode(open_keys(prepared.keys).public()))
    assert verifier.claims(answer["grant"])["cha"] == "of-sixty-days-ago"
