"""Acts of authorised people checked and carried out, each in one transaction: nobody comes between check and act."""

from collections.abc import Sequence

from sqlalchemy import Connection, Engine

from gateway.core.model import Control, Millis
from gateway.registry import acts
from gateway.registry.acts import Author, Holding, Level, Overriding, Running, Welder
from gateway.registry.values import half_width, shown
from gateway.store import overview
from gateway.store.controls import (
    ControlError,
    about_machine,
    about_override,
    about_overrides_for,
    about_session,
    carry_out,
)
from gateway.store.controls import acts as acts_that
from gateway.store.overview import MachineFacts, OperatorFacts


def registered_machine(connection: Connection, machine_id: str) -> MachineFacts:
    """The machine of this number, however it is typed. Raises ControlError."""
    machine = overview.machine(connection, half_width(machine_id))
    if machine is None:
        raise ControlError(
            f"machine = {shown(machine_id, personal=False)!r}: no machine of this number is registered; compare it "
            "with the machine's label, or import the machine (weldgate registry import)",
            "没有登记这个编号的焊机。请核对焊机标签上的编号。",
        )
    return machine


def registered_operator(connection: Connection, operator_id: str) -> OperatorFacts:
    """The person of this number. Raises ControlError."""
    operator = overview.operator(connection, half_width(operator_id, upper=False))
    if operator is None:
        raise ControlError(
            f"operator = {shown(operator_id, personal=False)!r}: nobody of this number is registered; compare it with "
            "the badge, or import the person (weldgate registry import)",
            "没有登记这个编号的人员。请核对操作卡上的编号。",
        )
    return operator


# --- machines and sessions --------------------------------------------------------------------------------------


def hold_machine(engine: Engine, act: Holding, machine_id: str, author: Author) -> Control:
    def make(connection: Connection) -> Control:
        known = registered_machine(connection, machine_id).machine_id
        return acts.hold(act, known, author, acts_that(connection, about_machine(known)))

    return carry_out(engine, make)


def release_machine(engine: Engine, machine_id: str, author: Author) -> Control:
    def make(connection: Connection) -> Control:
        known = registered_machine(connection, machine_id).machine_id
        return acts.release(known, author, acts_that(connection, about_machine(known)))

    return carry_out(engine, make)


def end_session(engine: Engine, session_id: str, author: Author) -> Control:
    def make(connection: Connection) -> Control:
        found = overview.session(connection, session_id)
        if found is None:
            raise ControlError(
                f"session = {shown(session_id, personal=False)!r}: there is no such session; `weldgate session list` "
                "shows those that run",
                "没有这次作业。",
            )
        session = Running(session_id, found.machine_id, found.operator_id, found.ended_at, found.end_reason)
        return acts.end_session(session, author, acts_that(connection, about_session(session_id)))

    return carry_out(engine, make)


# --- overrides --------------------------------------------------------------------------------------------------


def ask_override(
    engine: Engine, operator_id: str, machine_id: str, codes: Sequence[str], minutes: int, author: Author
) -> Control:
    def make(connection: Connection) -> Control:
        welder = _welder(connection, operator_id)
        machine = registered_machine(connection, machine_id)
        return acts.ask_override(welder, machine.machine_id, codes, minutes, author)

    return carry_out(engine, make)


def approve_override(engine: Engine, override_id: str, by: str, level: Level, now: Millis) -> Control:
    def make(connection: Connection) -> Control:
        story = _story(connection, override_id)
        welder = _welder(connection, story.asked.operator_id or "")
        pair = about_overrides_for(welder.operator_id) & about_machine(story.asked.machine_id or "")
        others = acts.overridings(acts_that(connection, pair))
        return acts.approve_override(story, others, welder, by, level, now)

    return carry_out(engine, make)


def end_override(engine: Engine, override_id: str, author: Author) -> Control:
    return carry_out(engine, lambda connection: acts.end_override(_story(connection, override_id), author))


def _welder(connection: Connection, operator_id: str) -> Welder:
    operator = registered_operator(connection, operator_id)
    return Welder(operator.operator_id, operator.name)


def _story(connection: Connection, override_id: str) -> Overriding:
    for story in acts.overridings(acts_that(connection, about_override(override_id))):
        return story
    raise ControlError(
        f"override = {shown(override_id, personal=False)!r}: nobody asked for it; `weldgate override list` shows all",
        "没有这个临时放行。",
    )
