"""What must always hold, in a sentence each, and that one of it does not."""

INVARIANTS = {
    "I1": "a relay closes, and a command goes out, only after what it rests on is on record",
    "I2": "every request gets exactly one decision, always the same bytes, and in the end gets it",
    "I3": "nobody is let in by registries that are too old, while a rule fails, or by a policy that no longer holds",
    "I4": "one open session per machine and per person, one closed relay per person, none ended under a closed relay",
    "I5": "nothing unlocks late, by an old challenge, by a used code, or by a retained message",
    "I6": "a relay is open when its lease, or what the unlock rests on, is over",
    "I7": "a recorded decision, made again from its record, comes out the same",
    "E": "a `locked` on record has ended its session, a tampering on record has its session locked at once",
    "L": "once faults stop, every session ends on the chip and in the database, and all evidence is there",
    "F": "the gateway itself does not fail",
}


class Broken(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant} ({INVARIANTS[invariant]}): {what}")
        self.invariant = invariant
