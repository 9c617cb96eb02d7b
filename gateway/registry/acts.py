"""What authorised people may order, and when: each function makes one act, or refuses it with the reason. Pure.

Two people make an override: one asks, another approves within an hour, and neither is the one whom it lets pass.
"""

import unicodedata
from collections.abc import Container, Iterable, Sequence
from typing import Literal

from msgspec import Struct, structs

from gateway.core.model import Control, Millis
from gateway.core.reasons import REASONS
from gateway.core.rules import local_time
from gateway.registry.values import Unreadable, personal_identifier, shown, text
from gateway.store.controls import ControlError, new_control_id

LONGEST_MINUTES = 60
APPROVED_WITHIN_MINUTES = 60
LONGEST_NAME = 128
SHORTEST_REASON, LONGEST_REASON = 4, 512
MINUTE_MS = 60_000
OVERRIDABLE = tuple(reason.code for reason in REASONS.values() if reason.override != "nobody")

Holding = Literal["lock", "out_of_service"]
Level = Literal["supervisor", "regulator"]
OverrideState = Literal["asked", "lapsed", "in_force", "ended", "over"]
_HELD: dict[str, tuple[str, str]] = {"lock": ("locked", "已锁定"), "out_of_service": ("out of service", "已停用")}


class Author(Struct, frozen=True):
    """Who orders something, for what reason, and when. ``level``: as what, where that is known."""

    by: str
    reason: str
    at: Millis
    level: Level | None = None


def author(by: str, reason: str, now: Millis, level: Level | None = None) -> Author:
    """Raises ControlError for a name or a reason that tells nobody anything."""
    words = _read("reason", reason, LONGEST_REASON)
    if len(words) < SHORTEST_REASON:
        raise ControlError(
            f"reason = {words!r}: say in a few words why, at least {SHORTEST_REASON} characters",
            f"请写明原因，至少 {SHORTEST_REASON} 个字。",
        )
    return Author(named(by), words, now, level)


def named(by: str) -> str:
    name = _read("by", by, LONGEST_NAME)
    if not person(name):
        raise ControlError(f"by = {name!r}: give the name of the person who orders this", "请写明是谁下的命令。")
    return name


def person(name: str) -> str:
    """A name as it is compared: case, width, white space and punctuation make nobody a second person.

    >>> person("ＷＡＮＧ　an.") == person("Wang An")
    True
    """
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in folded if character.isalnum())


def _read(field: str, raw: str, longest: int) -> str:
    try:
        words: str = text(longest)(raw)
    except Unreadable as problem:
        raise ControlError(
            f"{field} = {shown(raw, personal=False)!r}: {problem}; change it",
            f"原因或姓名不能使用：最多 {longest} 个字，只能是可见的文字。",
        ) from None
    if personal_identifier(words):
        raise ControlError(
            f"{field} = {shown(words, personal=False)!r}: looks like an ID number or phone number, and the ledger "
            "keeps it for ever; name people by name or operator id",
            "里面像是有身份证号或手机号，记录会永久保存。请改用姓名或人员编号。",
        )
    return words


def when(at: Millis) -> str:
    """A moment in the county's time."""
    return f"{local_time(at):%Y-%m-%d %H:%M:%S}"


def _told(act: Control) -> str:
    return f"since {when(act.at)} by {act.by} ({act.reason})"


def _told_zh(act: Control) -> str:
    return f"{act.by}，{when(act.at)}，原因：{act.reason}"


# --- machines and sessions --------------------------------------------------------------------------------------


def holding(acts: Iterable[Control]) -> Control | None:
    """The act that holds a machine, of all about it, the latest first."""
    return next(iter(_holds(acts)), None)


def _holds(acts: Iterable[Control]) -> list[Control]:
    """The acts that one release lifts, the latest first."""
    found: list[Control] = []
    for act in acts:
        if act.act == "release":
            break
        if act.act in _HELD:
            found.append(act)
    return found


def hold(act: Holding, machine_id: str, author: Author, acts: Iterable[Control]) -> Control:
    """Lock a machine, or take it out of service (also where it is locked), until somebody releases it.

    What a firm holds may be held besides by whoever is above it: the firm cannot release it then.
    """
    held = holding(acts)
    below = held is not None and held.level == "supervisor" and author.level != "supervisor"
    if held is not None and not below and held.act in (act, "out_of_service"):
        english, chinese = _HELD[held.act]
        raise ControlError(
            f"machine {machine_id}: is {english} already, {_told(held)}; nothing was changed",
            f"这台焊机{chinese}（{_told_zh(held)}），不用再操作。",
        )
    return _of_machine(act, machine_id, author)


def release(machine_id: str, author: Author, acts: Iterable[Control]) -> Control:
    """INVARIANT: a firm lifts only what a firm ordered; an order whose giver did not say as what may be the
    regulator's."""
    held = _holds(acts)
    if not held:
        raise ControlError(
            f"machine {machine_id}: is neither locked nor out of service; `weldgate machine show {machine_id}` tells "
            "why it refuses",
            "这台焊机没有被停用或锁定，不用解除。",
        )
    above = [act for act in held if act.level != "supervisor"]
    if above and author.level == "supervisor":
        raise ControlError(
            f"machine {machine_id}: is {_HELD[above[0].act][0]}, {_told(above[0])}, and not by a firm; ask the "
            "regulator to release it",
            f"这台焊机不是由单位停用的（{_told_zh(above[0])}）。请联系监管部门解除。",
        )
    return _of_machine("release", machine_id, author)


def _of_machine(act: Literal["lock", "out_of_service", "release"], machine_id: str, author: Author) -> Control:
    return Control(
        new_control_id(), author.at, act, author.by, author.reason, machine_id=machine_id, level=author.level
    )


class Running(Struct, frozen=True):
    """A session as far as an order to end it has to know. ``ended_at`` is None while it is open."""

    session_id: str
    machine_id: str
    operator_id: str | None
    ended_at: Millis | None
    end_reason: str | None


def end_session(session: Running, author: Author, acts: Sequence[Control]) -> Control:
    """``acts``: those about the session."""
    if session.ended_at is not None:
        raise ControlError(
            f"session {session.session_id}: ended at {when(session.ended_at)} ({session.end_reason}); "
            "`weldgate session list` shows those that run",
            f"这次作业在 {when(session.ended_at)} 已经结束。",
        )
    if acts:
        raise ControlError(
            f"session {session.session_id}: its end is ordered already, {_told(acts[0])}; the lock is sent again "
            "until the chip reports",
            f"已经下令结束（{_told_zh(acts[0])}）；锁具回报之前会一直重发。",
        )
    act = Control(new_control_id(), author.at, "end_session", author.by, author.reason, session.machine_id)
    return structs.replace(act, operator_id=session.operator_id, session_id=session.session_id)


# --- overrides --------------------------------------------------------------------------------------------------


class Welder(Struct, frozen=True):
    """The person whom an override lets pass."""

    operator_id: str
    name: str | None


class Overriding(Struct, frozen=True):
    """One override from its asking on."""

    asked: Control
    approved: Control | None = None
    ended: Control | None = None

    @property
    def override_id(self) -> str:
        return self.asked.control_id

    def until(self) -> Millis | None:
        """When it is or was over; None if nobody approved it."""
        if self.approved is None:
            return None
        ends = [act for act in (self.approved.until, self.ended.at if self.ended else None) if act is not None]
        return min(ends, default=self.approved.at)

    def state(self, now: Millis) -> OverrideState:
        if self.ended is not None:
            return "ended"
        if self.approved is None:
            return "asked" if now - self.asked.at <= APPROVED_WITHIN_MINUTES * MINUTE_MS else "lapsed"
        return "in_force" if now < (self.approved.until or 0) else "over"


def overridings(acts: Iterable[Control]) -> list[Overriding]:
    """The overrides that acts speak of, the latest asked first, as the acts are."""
    known: dict[str, dict[str, Control]] = {}
    for act in acts:
        if act.override_id is not None:
            known.setdefault(act.override_id, {})[act.act] = act
    stories = [
        Overriding(said["override_asked"], said.get("override_approved"), said.get("override_ended"))
        for said in known.values()
        if "override_asked" in said
    ]
    return sorted(stories, key=lambda story: story.asked.at, reverse=True)


def ask_override(welder: Welder, machine_id: str, codes: Sequence[str], minutes: int, author: Author) -> Control:
    """Ask for codes to be let pass for one person at one machine; in force once a second person has approved."""
    if not 1 <= minutes <= LONGEST_MINUTES:
        raise ControlError(
            f"minutes = {minutes}: use 1 to {LONGEST_MINUTES}; ask again where that is too short",
            f"时长要在 1 到 {LONGEST_MINUTES} 分钟之间；不够时请再申请一次。",
        )
    _not_the_welder(author.by, welder)
    override_id = new_control_id()
    return Control(
        control_id=override_id,
        at=author.at,
        act="override_asked",
        by=author.by,
        reason=author.reason,
        machine_id=machine_id,
        operator_id=welder.operator_id,
        override_id=override_id,
        codes=_overridable(codes),
        minutes=minutes,
    )


def _overridable(codes: Sequence[str]) -> tuple[str, ...]:
    """The codes once each, in the order of the table."""
    for code in codes:
        if code not in REASONS:
            raise ControlError(
                f"code = {shown(code, personal=False)!r}: there is no such reason; {_listed()}", "没有这个拒绝原因。"
            )
        if code not in OVERRIDABLE:
            raise ControlError(
                f"code = {code}: nobody may override it; {_listed()}",
                f"“{REASONS[code].message_zh}”不能临时放行。",
            )
    if not codes:
        raise ControlError(f"code: name what is to be let pass; {_listed()}", "请选择要放行的原因。")
    return tuple(code for code in OVERRIDABLE if code in codes)


def _listed() -> str:
    return f"these can be overridden: {', '.join(OVERRIDABLE)}"


def _not_the_welder(by: str, welder: Welder) -> None:
    """INVARIANT: nobody has a hand in an override for themselves, by number, by name, or with an account's login
    behind the name."""
    names = {person(by), person(by.rpartition(" (")[0])} - {""}
    if names & {person(welder.operator_id), person(welder.name or "")}:
        raise ControlError(
            f"by = {by!r}: is the operator whom the override lets pass; it takes two other people",
            "不能给自己申请或批准放行，需要另外两个人。",
        )


def approve_override(
    story: Overriding, others: Iterable[Overriding], welder: Welder, by: str, level: Level, now: Millis
) -> Control:
    """``others``: overrides for the same person at the same machine. It lasts from now on for the minutes asked for.

    INVARIANT: two people, neither of them the operator, make an override.
    """
    asked, name = story.asked, named(by)
    _still(
        story,
        now,
        ("asked",),
        ("nothing was approved; ask anew if it is needed (weldgate override ask)", "没有批准；需要时请重新申请。"),
    )
    if person(name) == person(asked.by):
        raise ControlError(
            f"by = {name!r}: asked for it; a second person has to approve", "这是您自己申请的，要由另一个人批准。"
        )
    _not_the_welder(name, welder)
    above = [code for code in asked.codes if REASONS[code].override == "regulator"]
    if above and level != "regulator":
        raise ControlError(
            f"level = {level}: {', '.join(above)} only a regulator lets pass; use --level regulator",
            f"“{REASONS[above[0]].message_zh}”只有监管人员可以放行。",
        )
    for other in others:
        if other.state(now) == "in_force":
            raise ControlError(
                f"override {story.override_id}: {other.override_id} is in force for {asked.operator_id} at "
                f"{asked.machine_id} until {when(other.until() or now)}; end it first (weldgate override end)",
                f"这个人在这台焊机上已有放行，到 {when(other.until() or now)}；请先结束那一个。",
            )
    until = now + (asked.minutes or 0) * MINUTE_MS
    act = structs.replace(asked, control_id=new_control_id(), at=now, act="override_approved", by=name)
    return structs.replace(act, level=level, until=until)


def end_override(story: Overriding, author: Author) -> Control:
    """End an override that is in force, or withdraw one that nobody has approved yet."""
    _still(story, author.at, ("asked", "in_force"), ("there is nothing to end", "不用结束。"))
    act = structs.replace(story.asked, control_id=new_control_id(), at=author.at, act="override_ended")
    return structs.replace(act, by=author.by, reason=author.reason)


def _still(story: Overriding, now: Millis, states: Container[OverrideState], remedy: tuple[str, str]) -> None:
    """``remedy`` in English and Chinese."""
    state = story.state(now)
    if state not in states:
        english, chinese = _PAST[state]
        raise ControlError(f"override {story.override_id}: {english}; {remedy[0]}", f"这个放行{chinese}，{remedy[1]}")


_PAST: dict[OverrideState, tuple[str, str]] = {
    "lapsed": (f"nobody approved it within {APPROVED_WITHIN_MINUTES} minutes", "没有在一小时内批准，已失效"),
    "in_force": ("is approved already and in force", "已经批准，正在生效"),
    "ended": ("was ended", "已经结束"),
    "over": ("is over", "已经到期"),
}
