"""Gateways, chips and databases with one fault each, to prove that the invariants would notice it."""

from collections.abc import Callable, Iterable
from typing import Any
from zlib import crc32

import msgspec
import pytest
from msgspec import Struct

import gateway.core.decide
import gateway.gate.leases
import gateway.gate.requests
import gateway.gate.sessions
from gateway.core.decide import Findings, standing
from gateway.core.lease import renewal
from gateway.core.model import CodeUse, Decision, Millis
from gateway.gate.chips import Chips, Codes
from gateway.gate.requests import answer
from gateway.gate.state import GateState
from gateway.pipeline import Pipeline
from gateway.registry.snapshot import Snapshot
from gateway.store import orders
from gateway.store.journal import Batch
from gateway.store.ledger import Head
from gateway.wire.answer import finish, sign_order
from gateway.wire.inbound import Outbound
from gateway.wire.replies import reply_to
from simulator.arms import Cue
from simulator.chip import Chip
from simulator.inbox import Inbox
from simulator.outbox import Outbox
from simulator.timers import Timers
from tests.simulation.broker import Broker, Session
from tests.simulation.database import Database
from tests.simulation.gateway_host import GatewayHost
from tests.simulation.gateway_ports import ModelLink, ModelWriter
from tests.simulation.network import Connection

Patch = pytest.MonkeyPatch


class Variant(Struct, frozen=True):
    """What is broken, and which invariants may notice it first."""

    invariants: tuple[str, ...]
    apply: Callable[[Patch], None]


def _answers_before_the_commit(patch: Patch) -> None:
    """What is sent to the scribe counts as durable at once."""
    slowly = ModelWriter.commit

    def commit(writer: ModelWriter, batch: Batch) -> Any:
        slowly(writer, batch)
        signer = writer._process.scribe._signer  # type: ignore[attr-defined]
        replies = [finish(draft.answer, signer) if draft.answer else None for draft in batch.drafts]
        early = writer._process.loop.create_future()
        early.set_result(
            orders.Committed(Head(1, b"", 0), replies, [sign_order(order, signer) for order in batch.orders])
        )
        return early

    patch.setattr(ModelWriter, "commit", commit)


def _acknowledges_on_arrival(patch: Patch) -> None:
    """Before the commit the broker forgets what a crash then loses."""
    take = GatewayHost.on_publish

    def on_publish(host: GatewayHost, connection: Connection, mid: int, *message: Any) -> None:
        if host.process is not None and host.process.connection is connection:
            connection.up(host._around.broker.acknowledged, mid)
        take(host, connection, mid, *message)

    patch.setattr(GatewayHost, "on_publish", on_publish)


def _decides_repeats_anew(patch: Patch) -> None:
    """Neither memory nor the database knows what was decided before."""
    patch.setattr(Pipeline, "_known", lambda *_: False)
    _no_unique_keys(patch)


def _no_unique_keys(patch: Patch) -> None:
    patch.setattr(Database, "unique", False)


def _signs_repeats_anew(patch: Patch) -> None:
    """A repeat gets an answer of the same meaning and other bytes."""
    send = reply_to
    patch.setattr(
        gateway.pipeline, "reply_to", lambda i, m, payload, e: send(i, m, payload.replace(b'"at":', b'"at": '), e)
    )


def _sees_nobody_elsewhere(patch: Patch) -> None:
    """The check that somebody is in a session elsewhere is lost."""
    facts = GateState.facts

    def without_sessions(state: GateState, *asked: Any, **about: Any) -> Any:
        return msgspec.structs.replace(facts(state, *asked, **about), operator_session=None)

    patch.setattr(GateState, "facts", without_sessions)


def _writes_stale_sessions(patch: Patch) -> None:
    """The check that nobody else changed a session is lost: for two gateways."""
    _no_unique_keys(patch)


def _ends_sessions_without_the_drain(patch: Patch) -> None:
    """A session counts as over at the end of its lease, though an arc may go on for the drain deadline."""
    for module in (gateway.gate.requests, gateway.gate.leases):
        if hasattr(module, "over_at"):
            patch.setattr(module, "over_at", lambda lease_until, *_: lease_until)
    patch.setattr("gateway.gate.sessions.over_at", lambda lease_until, *_: lease_until)


def believes_any_refusal(patch: Patch) -> None:
    """A refused grant counts as the end though the chip may take it a moment later, its clock put right."""
    patch.setattr("gateway.core.session.GIVEN_UP_S", -1)


def _same_challenge_for_ever(patch: Patch) -> None:
    fresh = Chip._fresh_challenge
    patch.setattr(Chip, "_fresh_challenge", lambda chip: None if chip.challenge else fresh(chip))


def _believes_retained(patch: Patch) -> None:
    """The broker marks answers as retained, and the chip does not mind."""
    read, send = Inbox.read, Broker._send

    def send_retained(broker: Broker, session: Session, topic: str, payload: bytes, retained: bool) -> None:
        send(broker, session, topic, payload, retained or topic.endswith("/decision"))

    patch.setattr(Broker, "_send", send_retained)
    patch.setattr(
        Inbox,
        "read",
        lambda inbox, event, expected: read(inbox, msgspec.structs.replace(event, retained=False), expected),
    )


def _never_gives_up(patch: Patch) -> None:
    """The chip waits for an answer as long as it takes, and does not look at the start-by."""
    patch.setattr("simulator.chip.GIVE_UP_MS", 3_600_000)
    patch.setattr("simulator.grants._check_time", lambda *_: None)


def _takes_any_clock_for_right(patch: Patch) -> None:
    """A phone unlocks whatever the chip's clock is like."""
    patch.setattr("gateway.gate.chips.Chip.clock_off_ms", property(lambda _: 0))


def _takes_codes_twice(patch: Patch) -> None:
    show = Codes.show

    def careless(codes: Codes, code: Any, now: Millis) -> CodeUse | None:
        use = show(codes, code, now)
        return None if use is None else msgspec.structs.replace(use, used=False)

    patch.setattr(Codes, "show", careless)
    patch.setattr(Codes, "take_fresh", lambda _: [])


def _chip_without_lease(patch: Patch) -> None:
    """A chip whose lease lasts ten times as long."""
    begin = Timers.set

    def longer(timers: Timers, cue: Cue, at_ms: int) -> None:
        begin(timers, cue, at_ms + (10_000_000 if cue is Cue.LEASE_OVER else 0))

    patch.setattr(Timers, "set", longer)


def _no_end_by_the_calendar(patch: Patch) -> None:
    """Leases are cut to nothing that ends at midnight."""
    patch.setattr("gateway.core.decide._ground_ends", lambda *_: (None, ""))


def _renews_beyond_the_ground(patch: Patch) -> None:
    """Only renewals forget when the ground ends."""

    def careless(now: int, held: int, _: int | None, longest: int, *, clock: bool) -> Any:
        return renewal(now, held, None, longest, clock=clock)

    patch.setattr("gateway.gate.leases.renewal", careless)


def _hears_of_no_change(patch: Patch) -> None:
    """A change of the registries concerns nobody who is in already."""
    patch.setattr(GateState, "concern", lambda *_: None)


def _decides_by_chance(patch: Patch) -> None:
    """A decision that depends on what is not on record."""
    turn = [0]

    def fickle(*about: Any) -> tuple[Decision, Millis | None]:
        turn[0] += 1
        decision, until = standing(*about)
        shorter = decision.outcome == "allow" and turn[0] % 7 == 0
        return (msgspec.structs.replace(decision, lease_s=decision.lease_s // 2 + 1) if shorter else decision), until

    patch.setattr("gateway.gate.requests.standing", fickle)


def _chip_forgets_events(patch: Patch) -> None:
    """What was not acknowledged when the connection broke is gone."""
    patch.setattr(Outbox, "connection_lost", lambda outbox: outbox._kept.clear())


def _dies_of_junk(patch: Patch) -> None:
    """One request is more than the gateway can take."""

    def fragile(state: GateState, machine_id: str, request: Any, waited_ms: int) -> Any:
        if request.credential == "nobody":
            raise KeyError(request.credential)
        return answer(state, machine_id, request, waited_ms)

    patch.setattr("gateway.gate.requests.answer", fragile)


def _sends_unsigned_commands(patch: Patch) -> None:
    """Commands go out that were made up after the commit."""
    publish = ModelLink.publish

    def altered(link: ModelLink, messages: Iterable[Outbound]) -> None:
        changed = [
            Outbound(one.topic, one.payload + b" ") if one.topic.endswith("/command") else one for one in messages
        ]
        publish(link, changed)

    patch.setattr(ModelLink, "publish", altered)


def _drops_requests(patch: Patch) -> None:
    """Some requests are acknowledged and never looked at."""
    take = GatewayHost.on_publish

    def on_publish(host: GatewayHost, connection: Connection, mid: int, topic: str, *message: Any) -> None:
        if topic.endswith("/request") and crc32(message[0]) % 5 == 0:
            connection.up(host._around.broker.acknowledged, mid)
            host._around.watcher.gateway_received(host, topic, message[0])
        else:
            take(host, connection, mid, topic, *message)

    patch.setattr(GatewayHost, "on_publish", on_publish)


def _believes_any_word_of_an_end(patch: Patch) -> None:
    """A chip that said that it had locked is never looked at again."""
    patch.setattr(
        "gateway.gate.strays._is_of_before",
        lambda state, usage, _: state.sessions.told_end(usage.session_id) is not None,
    )


def _believes_dates_of_the_future(patch: Patch) -> None:
    """A boot of any later date ends what runs at the machine."""
    patch.setattr(
        "gateway.gate.reports._surely_after",
        lambda event, session, _: event.at is not None and event.at > session.granted_at + 60_000,
    )


def _locks_that_are_late(patch: Patch) -> None:
    """A lock is for half a minute, as a renewal is."""
    patch.setattr("gateway.gate.leases.LOCK_TTL_S", 30)


def _asks_no_other_gateway(patch: Patch) -> None:
    """An event of a session that another gateway opened means nothing."""
    patch.setattr("gateway.pipeline.doubtful", lambda *_: {})


def believes_in_its_own_drain(patch: Patch) -> None:
    """Chips are taken to drain as the policy says, whatever they were provisioned with."""
    patch.setattr(GateState, "drain_s", property(lambda state: state.rulebook.policy.lease.drain_deadline_s))


def _tells_no_chip(patch: Patch) -> None:
    patch.setattr("gateway.pipeline.configs_due", lambda *_: [])


def _takes_any_low_number_for_late(patch: Patch) -> None:
    """Only numbers above the last count."""
    count = Chips.count

    def lenient(chips: Chips, machine_id: str, seq: int) -> Any:
        return None if seq <= (chips.last_seq(machine_id) or -1) else count(chips, machine_id, seq)

    patch.setattr(Chips, "count", lenient)


def _takes_registries_for_fresh(patch: Patch) -> None:
    patch.setattr(Snapshot, "age_s", lambda *_: 0)


def _skips_rules_that_fail(patch: Patch) -> None:
    """A rule that raises has no say."""
    run = gateway.core.decide._run

    def careless(found: Findings, *about: Any) -> None:
        run(found, *about)
        found.faults.clear()

    patch.setattr(gateway.core.decide, "_run", careless)


def _goes_by_its_first_policy(patch: Patch) -> None:
    patch.setattr(GateState, "adopt", lambda *_: None)


VARIANTS: dict[str, Variant] = {
    "answers before the commit": Variant(("I1", "I2"), _answers_before_the_commit),
    "sends commands that no commit made": Variant(("I1",), _sends_unsigned_commands),
    "decides repeats anew": Variant(("I2",), _decides_repeats_anew),
    "signs repeats anew": Variant(("I2",), _signs_repeats_anew),
    "acknowledges requests and drops them": Variant(("I2",), _drops_requests),
    "takes registries for fresh": Variant(("I3",), _takes_registries_for_fresh),
    "skips rules that fail": Variant(("I3",), _skips_rules_that_fail),
    "goes by its first policy": Variant(("I3",), _goes_by_its_first_policy),
    "sees nobody elsewhere": Variant(("I4",), _sees_nobody_elsewhere),
    "two gateways write over each other": Variant(("I4",), _writes_stale_sessions),
    "ends sessions without the drain": Variant(("I4",), _ends_sessions_without_the_drain),
    "believes dates of the future": Variant(("I4",), _believes_dates_of_the_future),
    "same challenge for ever": Variant(("I5",), _same_challenge_for_ever),
    "believes retained": Variant(("I5",), _believes_retained),
    "never gives up": Variant(("I5",), _never_gives_up),
    "takes any clock for right": Variant(("I5",), _takes_any_clock_for_right),
    "takes codes twice": Variant(("I5",), _takes_codes_twice),
    "chip without lease": Variant(("I6",), _chip_without_lease),
    "no end by the calendar": Variant(("I6",), _no_end_by_the_calendar),
    "renews beyond the ground": Variant(("I6",), _renews_beyond_the_ground),
    "hears of no change": Variant(("I6",), _hears_of_no_change),
    "believes any word of an end": Variant(("I6",), _believes_any_word_of_an_end),
    "locks that are late": Variant(("I6",), _locks_that_are_late),
    "decides by chance": Variant(("I7",), _decides_by_chance),
    "asks no other gateway": Variant(("E",), _asks_no_other_gateway),
    "tells no chip": Variant(("L",), _tells_no_chip),
    "takes any low number for late": Variant(("L",), _takes_any_low_number_for_late),
    "chip forgets events": Variant(("L",), _chip_forgets_events),
    "acknowledges on arrival": Variant(("L", "I2"), _acknowledges_on_arrival),
    "dies of junk": Variant(("F",), _dies_of_junk),
}
