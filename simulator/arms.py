"""The reference chip's two state machines as tables. Pure data; chip.py acts on it, the diagrams are made from it.

Two machines run side by side and hear the same cues. The *lock* decides about the relay: it is open in OFF and
LOCKED and closed in the three others, and nothing but an accepted grant, or the list of those who may unlock while
there is no connection, leads from an open relay to a closed one.
The *question* waits for the answer to a scan. A cue without an arm in the present state changes nothing.
"""

from enum import Enum, auto

from msgspec import Struct


class Lock(Enum):
    OFF = auto()  # no mains
    LOCKED = auto()  # relay open
    READY = auto()  # relay closed, no welding current
    WELDING = auto()  # relay closed under welding current
    DRAINING = auto()  # relay closed until the arc ends or the deadline passes


class Question(Enum):
    QUIET = auto()
    ASKING = auto()


class Cue(Enum):
    POWER_ON = auto()
    POWER_OFF = auto()
    LINK_UP = auto()
    SCAN = auto()
    GRANT = auto()  # an allow whose grant passed every check
    OFFLINE_GRANT = auto()  # a scan that the offline list lets in while nobody can be asked
    DENIED = auto()  # a deny for the question asked
    RENEW = auto()
    LOCK_SOON = auto()  # lock between arcs, with a deadline
    LOCK_NOW = auto()
    FINISH = auto()  # the operator ends work
    ARC_ON = auto()
    ARC_OFF = auto()
    REPEAT_DUE = auto()
    GIVE_UP = auto()
    USAGE_DUE = auto()
    LEASE_OVER = auto()
    IDLE_OVER = auto()
    DEADLINE = auto()
    ALARM = auto()  # look again at what is wrong


class Do(Enum):
    """What an arm does besides changing the state."""

    BOOT = auto()
    DIE = auto()
    BEGIN = auto()
    REPLACE = auto()
    RENEW = auto()
    STRIKE = auto()
    REST = auto()
    MEASURE = auto()
    DRAIN = auto()
    END = auto()
    ASK = auto()
    REPEAT = auto()
    FORGET = auto()
    WITHDRAW = auto()
    GIVE_UP = auto()


class LockArm(Struct, frozen=True):
    to: Lock
    do: Do
    why: str


class QuestionArm(Struct, frozen=True):
    to: Question
    do: Do
    why: str


LOCK_ARMS: dict[tuple[Lock, Cue], LockArm] = {
    (Lock.OFF, Cue.POWER_ON): LockArm(Lock.LOCKED, Do.BOOT, "Power-up is locked, whatever was before."),
    (Lock.LOCKED, Cue.GRANT): LockArm(Lock.READY, Do.BEGIN, "Only an accepted grant closes the relay."),
    (Lock.LOCKED, Cue.OFFLINE_GRANT): LockArm(
        Lock.READY, Do.BEGIN, "Nobody can be asked, and the offline list lets the operator in."
    ),
    (Lock.READY, Cue.GRANT): LockArm(Lock.READY, Do.REPLACE, "A new grant replaces the running session."),
    (Lock.READY, Cue.RENEW): LockArm(Lock.READY, Do.RENEW, "A renewal starts the lease anew."),
    (Lock.READY, Cue.ARC_ON): LockArm(Lock.WELDING, Do.STRIKE, "Welding begins; the idle clock stops."),
    (Lock.READY, Cue.USAGE_DUE): LockArm(Lock.READY, Do.MEASURE, "Usage is reported while unlocked."),
    (Lock.READY, Cue.LEASE_OVER): LockArm(Lock.LOCKED, Do.END, "The lease is over and no current flows."),
    (Lock.READY, Cue.IDLE_OVER): LockArm(Lock.LOCKED, Do.END, "Idle for too long."),
    (Lock.READY, Cue.FINISH): LockArm(Lock.LOCKED, Do.END, "The operator ended work."),
    (Lock.READY, Cue.LOCK_SOON): LockArm(Lock.LOCKED, Do.END, "Between arcs is now."),
    (Lock.READY, Cue.LOCK_NOW): LockArm(Lock.LOCKED, Do.END, "Locked by command."),
    (Lock.WELDING, Cue.GRANT): LockArm(Lock.WELDING, Do.REPLACE, "A new grant replaces the running session."),
    (Lock.WELDING, Cue.RENEW): LockArm(Lock.WELDING, Do.RENEW, "A renewal starts the lease anew."),
    (Lock.WELDING, Cue.ARC_OFF): LockArm(Lock.READY, Do.REST, "Between two arcs; the idle clock starts."),
    (Lock.WELDING, Cue.USAGE_DUE): LockArm(Lock.WELDING, Do.MEASURE, "Usage is reported while unlocked."),
    (Lock.WELDING, Cue.LEASE_OVER): LockArm(Lock.DRAINING, Do.DRAIN, "The arc may end, until the deadline."),
    (Lock.WELDING, Cue.FINISH): LockArm(Lock.DRAINING, Do.DRAIN, "The arc may end, until the deadline."),
    (Lock.WELDING, Cue.LOCK_SOON): LockArm(Lock.DRAINING, Do.DRAIN, "The arc may end, until the command's deadline."),
    (Lock.WELDING, Cue.LOCK_NOW): LockArm(Lock.LOCKED, Do.END, "Locked by command, arc or no arc."),
    (Lock.DRAINING, Cue.ARC_OFF): LockArm(Lock.LOCKED, Do.END, "The arc ended."),
    (Lock.DRAINING, Cue.DEADLINE): LockArm(Lock.LOCKED, Do.END, "The deadline passed: open in any case."),
    (Lock.DRAINING, Cue.LOCK_NOW): LockArm(Lock.LOCKED, Do.END, "Locked by command, arc or no arc."),
    (Lock.DRAINING, Cue.LOCK_SOON): LockArm(Lock.DRAINING, Do.DRAIN, "The earlier deadline holds."),
    (Lock.DRAINING, Cue.GRANT): LockArm(Lock.WELDING, Do.REPLACE, "A new grant replaces the session that was ending."),
    (Lock.DRAINING, Cue.USAGE_DUE): LockArm(Lock.DRAINING, Do.MEASURE, "Usage is reported while unlocked."),
    (Lock.LOCKED, Cue.POWER_OFF): LockArm(Lock.OFF, Do.DIE, "Without mains nothing runs."),
    (Lock.READY, Cue.POWER_OFF): LockArm(Lock.OFF, Do.DIE, "Without mains the relay falls open."),
    (Lock.WELDING, Cue.POWER_OFF): LockArm(Lock.OFF, Do.DIE, "Without mains the relay falls open."),
    (Lock.DRAINING, Cue.POWER_OFF): LockArm(Lock.OFF, Do.DIE, "Without mains the relay falls open."),
}

QUESTION_ARMS: dict[tuple[Question, Cue], QuestionArm] = {
    (Question.QUIET, Cue.SCAN): QuestionArm(Question.ASKING, Do.ASK, "A scan asks; one question at a time."),
    (Question.ASKING, Cue.REPEAT_DUE): QuestionArm(Question.ASKING, Do.REPEAT, "No answer yet: the same bytes again."),
    (Question.ASKING, Cue.LINK_UP): QuestionArm(Question.ASKING, Do.REPEAT, "Back on air: the same bytes again."),
    (Question.ASKING, Cue.GRANT): QuestionArm(Question.QUIET, Do.FORGET, "Answered, here or by phone."),
    (Question.ASKING, Cue.OFFLINE_GRANT): QuestionArm(
        Question.QUIET, Do.WITHDRAW, "The next scan was let in by the list. A new challenge: a late grant never fits."
    ),
    (Question.ASKING, Cue.DENIED): QuestionArm(Question.QUIET, Do.FORGET, "Answered."),
    (Question.ASKING, Cue.GIVE_UP): QuestionArm(
        Question.QUIET, Do.GIVE_UP, "A new challenge: a late grant never fits."
    ),
    (Question.ASKING, Cue.POWER_OFF): QuestionArm(Question.QUIET, Do.FORGET, "A question does not survive the mains."),
}

END_WORDS: dict[Cue, str] = {Cue.FINISH: "operator", Cue.LEASE_OVER: "lease_over", Cue.IDLE_OVER: "idle"}
"""Why a session ends where the chip itself ends it. A lock command brings its own word, what ends a drain none."""
