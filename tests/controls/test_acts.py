"""Who may order what: the rules of holds, ends of sessions and overrides, without a database."""

from typing import Any

import pytest
from msgspec import structs

from gateway.core.model import Control
from gateway.core.reasons import REASONS
from gateway.registry.acts import (
    MINUTE_MS,
    OVERRIDABLE,
    Author,
    Overriding,
    Running,
    Welder,
    approve_override,
    ask_override,
    author,
    end_override,
    end_session,
    hold,
    holding,
    overridings,
    person,
    release,
)
from gateway.store.controls import ControlError

NOW = 1_790_000_000_000
WELDER = Welder("P0001", "样例甲")
ASKER = Author("Wang An", "his papers are on their way", NOW)


def later(minutes: float) -> int:
    return NOW + round(minutes * MINUTE_MS)


def ask(*codes: str, minutes: int = 30, by: str = "Wang An") -> Control:
    words = author(by, "his papers are on their way", NOW)
    return ask_override(WELDER, "HJ-0001", codes or ("operator_not_employed",), minutes, words)


def approve(asked: Control, by: str = "Li Bo", level: Any = "supervisor", now: int = later(1), **given: Any) -> Control:
    story = given.get("story") or Overriding(asked)
    return approve_override(story, given.get("others", ()), given.get("welder", WELDER), by, level, now)


# --- who, and why -----------------------------------------------------------------------------------------------


def test_white_space_around_and_within_words_is_put_in_order() -> None:
    assert author("  Wang\u3000 An ", " 漏电\n  leak ", NOW) == Author("Wang An", "漏电 leak", NOW)


@pytest.mark.parametrize(
    ("by", "reason", "says"),
    [
        ("", "because it leaks", "by = '': give the name"),
        (" .-", "because it leaks", "by = '.-': give the name"),
        ("x" * 129, "because it leaks", "by = .* longer than 128"),
        ("Wang\u200bAn", "because it leaks", "by = .* cannot be printed"),
        ("Wang An", "", "reason = '': say in a few words why"),
        ("Wang An", "  ok!  ", "reason = 'ok!': say in a few words why"),
        ("Wang An", "x" * 513, "reason = .* longer than 512"),
        ("Wang An", "it leaks \x1b[2J", "reason = .* cannot be printed"),
    ],
)
def test_a_name_and_a_reason_have_to_say_something(by: str, reason: str, says: str) -> None:
    with pytest.raises(ControlError, match=says):
        author(by, reason, NOW)


@pytest.mark.parametrize("number", ["99000019900101123X", "12900000001"])
@pytest.mark.parametrize("where", ["by", "reason"])
def test_personal_numbers_do_not_get_into_the_ledger_nor_into_the_complaint(where: str, number: str) -> None:
    words = {"by": "Wang An", "reason": "because it leaks"} | {where: f"ask {number} for it"}
    with pytest.raises(ControlError, match=f"{where} = .*ID number or phone number") as caught:
        author(words["by"], words["reason"], NOW)
    assert number not in str(caught.value)


@pytest.mark.parametrize("same", ["Wang An", "wang an", " WANG  AN ", "Ｗａｎｇ\u3000Ａｎ", "Wang-An", "WangAn."])
def test_one_person_is_one_person_however_the_name_is_typed(same: str) -> None:
    assert person(same) == person("Wang An")


def test_two_people_are_two() -> None:
    assert person("王安") != person("王案")


# --- holds ------------------------------------------------------------------------------------------------------


def acts_of(*names: Any) -> list[Control]:
    """About one machine, the latest first."""
    made = [Control(f"act-{number}", NOW + number, act, "Wang An", "it leaks") for number, act in enumerate(names)]
    return made[::-1]


@pytest.mark.parametrize(
    ("before", "order", "allowed"),
    [
        ((), "lock", True),
        ((), "out_of_service", True),
        (("lock",), "out_of_service", True),
        (("lock",), "lock", False),
        (("out_of_service",), "lock", False),
        (("out_of_service",), "out_of_service", False),
        (("lock", "out_of_service"), "lock", False),
        (("lock", "release"), "lock", True),
        (("out_of_service", "release", "override_asked"), "out_of_service", True),
    ],
)
def test_a_hold_is_made_once_and_never_made_weaker(before: tuple[str, ...], order: Any, allowed: bool) -> None:
    known = acts_of(*before)
    if allowed:
        made = hold(order, "HJ-0001", ASKER, known)
        assert (made.act, made.machine_id, made.by, made.reason, made.at) == (
            *(order, "HJ-0001"),
            *("Wang An", "his papers are on their way", NOW),
        )
        assert holding([made, *known]) == made
    else:
        with pytest.raises(ControlError, match=r"already, since .* by Wang An \(it leaks\); nothing was changed"):
            hold(order, "HJ-0001", ASKER, known)


@pytest.mark.parametrize("before", [("lock",), ("out_of_service",), ("lock", "out_of_service", "override_asked")])
def test_a_release_lifts_whatever_holds(before: tuple[str, ...]) -> None:
    known = acts_of(*before)
    assert holding([release("HJ-0001", ASKER, known), *known]) is None


FIRM = structs.replace(ASKER, level="supervisor")
REGULATOR = structs.replace(ASKER, level="regulator")


def held_by(*authors: Author) -> list[Control]:
    """Taken out of service by each in turn; the latest act first."""
    acts: list[Control] = []
    for one in authors:
        acts.insert(0, hold("out_of_service", "HJ-0001", one, acts))
    return acts


def test_a_firm_releases_what_it_holds_itself() -> None:
    acts = held_by(FIRM)
    assert acts[0].level == "supervisor"
    assert holding([release("HJ-0001", FIRM, acts), *acts]) is None


@pytest.mark.parametrize("authors", [(REGULATOR,), (ASKER,), (FIRM, REGULATOR), (FIRM, ASKER)])
def test_invariant_a_firm_releases_nothing_that_others_hold(authors: tuple[Author, ...]) -> None:
    """Also where its own order stands before theirs; an order at the gateway's host may be the regulator's."""
    acts = held_by(*authors)
    with pytest.raises(ControlError, match=r"HJ-0001: is out of service, since .*; ask the regulator") as refused:
        release("HJ-0001", FIRM, acts)
    assert "请联系监管部门解除" in refused.value.chinese
    assert release("HJ-0001", REGULATOR, acts).act == "release"


def test_invariant_a_firm_does_not_lift_a_lock_from_afar_by_an_order_on_top_of_it() -> None:
    acts = [hold("lock", "HJ-0001", REGULATOR, [])]
    acts.insert(0, hold("out_of_service", "HJ-0001", FIRM, acts))
    with pytest.raises(ControlError, match="ask the regulator"):
        release("HJ-0001", FIRM, acts)


def test_a_firm_holds_again_what_was_released() -> None:
    acts = held_by(REGULATOR)
    acts.insert(0, release("HJ-0001", REGULATOR, acts))
    acts.insert(0, hold("lock", "HJ-0001", FIRM, acts))
    assert release("HJ-0001", FIRM, acts).level == "supervisor"


@pytest.mark.parametrize("before", [(), ("lock", "release"), ("end_session", "override_approved")])
def test_what_is_not_held_is_not_released(before: tuple[str, ...]) -> None:
    with pytest.raises(ControlError, match="HJ-0001: is neither locked nor out of service"):
        release("HJ-0001", ASKER, acts_of(*before))


# --- sessions ---------------------------------------------------------------------------------------------------

SESSION = Running("session-1", "HJ-0001", "P0001", None, None)


def test_an_end_names_the_session_its_machine_and_its_person() -> None:
    made = end_session(SESSION, ASKER, [])
    assert (made.act, made.session_id, made.machine_id, made.operator_id) == (
        *("end_session", "session-1"),
        *("HJ-0001", "P0001"),
    )


def test_a_session_that_is_over_or_is_ending_is_not_ended_again() -> None:
    over = structs.replace(SESSION, ended_at=NOW, end_reason="idle")
    with pytest.raises(ControlError, match=r"ended at 2026-09-21 22:13:20 \(idle\)"):
        end_session(over, ASKER, [])
    with pytest.raises(ControlError, match=r"ordered already, since .* by Wang An \(it leaks\)"):
        end_session(SESSION, ASKER, acts_of("end_session"))


# --- asking -----------------------------------------------------------------------------------------------------


def test_what_is_asked_for_is_on_the_act_and_codes_stand_once_in_the_order_of_the_table() -> None:
    made = ask("machine_in_session", "operator_not_employed", "machine_in_session", minutes=45)
    assert (made.act, made.operator_id, made.machine_id) == ("override_asked", "P0001", "HJ-0001")
    assert made.codes == ("operator_not_employed", "machine_in_session")
    assert (made.minutes, made.until, made.level) == (45, None, None)
    assert made.override_id == made.control_id


@pytest.mark.parametrize("code", REASONS)
def test_a_code_can_be_asked_for_if_the_table_of_reasons_lets_somebody_override_it(code: str) -> None:
    if REASONS[code].override == "nobody":
        with pytest.raises(ControlError, match=f"{code}: nobody may override it; these can be .*employment_ended"):
            ask("operator_not_employed", code)
    else:
        assert ask(code).codes == (code,)


def test_a_code_that_does_not_exist_is_named() -> None:
    with pytest.raises(ControlError, match="code = 'operator_unemployed': there is no such reason"):
        ask("operator_unemployed")


def test_an_override_lets_something_pass() -> None:
    with pytest.raises(ControlError, match="name what is to be let pass"):
        ask_override(WELDER, "HJ-0001", (), 5, ASKER)


@pytest.mark.parametrize("minutes", [-1, 0, 61, 10_000])
def test_it_lasts_for_one_to_sixty_minutes(minutes: int) -> None:
    assert (ask(minutes=1).minutes, ask(minutes=60).minutes) == (1, 60)
    with pytest.raises(ControlError, match=f"minutes = {minutes}: use 1 to 60"):
        ask(minutes=minutes)


OPERATORS_NAMES = ["P0001", "样例甲 (jia)", "P0001 (jia.2)", "p0001", " ｐ０００１ ", "样例甲", "样例 甲", "样例甲。"]


@pytest.mark.parametrize("by", OPERATORS_NAMES)
def test_invariant_nobody_asks_for_themselves(by: str) -> None:
    with pytest.raises(ControlError, match="is the operator whom the override lets pass"):
        ask(by=by)


# --- approving --------------------------------------------------------------------------------------------------


def test_an_approval_repeats_what_was_asked_and_lasts_from_then_on() -> None:
    asked = ask("operator_not_employed", "machine_in_session", minutes=30)
    made = approve(asked, now=later(10))
    assert (made.act, made.override_id, made.by, made.level) == (
        *("override_approved", asked.override_id),
        *("Li Bo", "supervisor"),
    )
    assert (made.operator_id, made.machine_id, made.codes) == (asked.operator_id, asked.machine_id, asked.codes)
    assert (made.reason, made.at, made.until) == (asked.reason, later(10), later(40))
    assert made.control_id != asked.control_id


@pytest.mark.parametrize("by", ["Wang An", "WANG AN", " wang  an", "Ｗａｎｇ Ａｎ", "Wang_An"])
def test_invariant_who_asked_does_not_approve(by: str) -> None:
    with pytest.raises(ControlError, match="asked for it; a second person has to approve"):
        approve(ask(), by=by)


@pytest.mark.parametrize("by", OPERATORS_NAMES)
def test_invariant_nobody_approves_for_themselves(by: str) -> None:
    with pytest.raises(ControlError, match="is the operator whom the override lets pass"):
        approve(ask(), by=by)


def test_somebody_without_a_name_on_record_still_does_not_approve_for_themselves() -> None:
    with pytest.raises(ControlError, match="is the operator whom"):
        approve(ask(), by="P0001", welder=Welder("P0001", None))


@pytest.mark.parametrize("code", OVERRIDABLE)
def test_what_the_table_leaves_to_the_regulator_a_supervisor_does_not_approve(code: str) -> None:
    assert approve(ask(code), level="regulator").level == "regulator"
    if REASONS[code].override == "regulator":
        with pytest.raises(ControlError, match=f"level = supervisor: {code} only a regulator lets pass"):
            approve(ask("operator_not_employed", code))
    else:
        assert approve(ask(code)).codes == (code,)


def test_an_ask_lapses_after_an_hour() -> None:
    asked = ask()
    assert approve(asked, now=later(60)).until == later(90)
    with pytest.raises(ControlError, match="nobody approved it within 60 minutes; nothing was approved"):
        approve(asked, now=later(60) + 1)


def story_of(asked: Control, approved_at: int, ended_at: int | None = None) -> Overriding:
    story = Overriding(asked, approve(asked, now=approved_at))
    return story if ended_at is None else Overriding(asked, story.approved, end_override(story, at(ended_at)))


def at(moment: int) -> Author:
    return author("Zhao", "no longer needed", moment)


@pytest.mark.parametrize(
    ("now", "says"),
    [(later(2), "is approved already and in force"), (later(31), "is over"), (later(100), "is over")],
)
def test_it_is_approved_once(now: int, says: str) -> None:
    asked = ask()
    with pytest.raises(ControlError, match=says):
        approve(asked, by="Zhao", now=now, story=story_of(asked, later(1)))


def test_what_was_ended_or_withdrawn_is_not_approved() -> None:
    asked = ask()
    withdrawn = Overriding(asked, None, end_override(Overriding(asked), at(later(1))))
    for story in (story_of(asked, later(1), later(2)), withdrawn):
        with pytest.raises(ControlError, match="was ended; nothing was approved"):
            approve(asked, now=later(3), story=story)


def test_one_override_at_a_time_for_a_person_at_a_machine() -> None:
    first, second = ask(), ask("machine_in_session")
    running = story_of(first, later(1))
    with pytest.raises(ControlError, match=f"{running.override_id} is in force for P0001 at HJ-0001 until"):
        approve(second, now=later(5), others=[running, Overriding(second)])
    assert approve(second, now=later(31), others=[running]).until == later(61)
    assert approve(second, now=later(5), others=[story_of(first, later(1), later(2))])


# --- ending, and the whole story --------------------------------------------------------------------------------


def test_an_end_names_the_override_its_person_and_its_machine() -> None:
    asked = ask()
    made = end_override(story_of(asked, later(1)), at(later(2)))
    assert (made.act, made.override_id, made.operator_id, made.machine_id) == (
        *("override_ended", asked.override_id),
        *("P0001", "HJ-0001"),
    )
    assert (made.by, made.reason, made.at) == ("Zhao", "no longer needed", later(2))


@pytest.mark.parametrize(("minute", "says"), [(32, "is over"), (62, "is over")])
def test_what_is_over_is_not_ended(minute: int, says: str) -> None:
    with pytest.raises(ControlError, match=f"{says}; there is nothing to end"):
        end_override(story_of(ask(), later(1)), at(later(minute)))


def test_what_lapsed_or_was_ended_is_not_ended() -> None:
    with pytest.raises(ControlError, match="within 60 minutes; there is nothing to end"):
        end_override(Overriding(ask()), at(later(61)))
    with pytest.raises(ControlError, match="was ended; there is nothing to end"):
        end_override(story_of(ask(), later(1), later(2)), at(later(3)))


def test_the_states_of_an_override_follow_from_its_acts_and_the_time() -> None:
    asked = ask()
    assert [Overriding(asked).state(later(minute)) for minute in (0, 60, 61)] == ["asked", "asked", "lapsed"]
    story = story_of(asked, later(10))
    assert [story.state(later(minute)) for minute in (10, 39.9, 40)] == ["in_force", "in_force", "over"]
    ended = story_of(asked, later(10), later(20))
    assert ended.state(later(20)) == "ended"
    assert (story.until(), ended.until(), Overriding(asked).until()) == (later(40), later(20), None)


def test_overrides_are_put_together_from_their_acts_in_any_order() -> None:
    story = story_of(ask(), later(1), later(2))
    assert story.approved is not None
    assert story.ended is not None
    other = ask("machine_in_session")
    lock = hold("lock", "HJ-0001", ASKER, ())
    made = overridings([story.ended, lock, other, story.approved, story.asked])
    assert sorted(made, key=lambda one: one.until() or 0) == [Overriding(other), story]
