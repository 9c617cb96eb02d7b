"""Everything that decisions rest on, in memory: registries, open sessions, chips and policy."""

from collections.abc import Callable

from gateway.core.model import Facts, Millis
from gateway.core.policy import Rulebook
from gateway.gate.sessions import Sessions
from gateway.registry.snapshot import Snapshot


class GateState:
    """Changed only by the pipeline and the registry watcher, both on the event loop."""

    def __init__(self, snapshot: Snapshot, rulebook: Rulebook, wall_ms: Callable[[], Millis]) -> None:
        self.snapshot = snapshot
        self.rulebook = rulebook
        self.wall_ms = wall_ms
        self.sessions = Sessions()
        self.chips: dict[str, str] = {}
        self.latest: Millis = 0

    def clock_behind_s(self, now: Millis) -> int:
        """How far ``now`` stands behind the latest record, whole seconds."""
        return max(0, self.latest - now) // 1000

    def facts(self, machine_id: str, named: str | None, waited_ms: int) -> Facts:
        """What is known about the machine, its firm and the person whom the credential names, now."""
        snapshot, now = self.snapshot, self.wall_ms()
        machine = snapshot.machines.get(machine_id)
        operator_id = named if named is not None and snapshot.knows_operator(named) else None
        at_machine = self.sessions.at_machine(machine_id)
        of_operator = self.sessions.of_operator(operator_id)
        return Facts(
            now=now,
            waited_ms=waited_ms,
            clock_behind_s=self.clock_behind_s(now),
            machine=machine,
            chip_reported=self.chips.get(machine_id),
            enterprise=snapshot.enterprises.get(machine.uscc) if machine else None,
            operator_id=operator_id,
            operator=snapshot.operators.get(operator_id) if operator_id else None,
            employments=snapshot.employments_at(operator_id, machine.uscc) if operator_id and machine else (),
            certificates=snapshot.certificates.get(operator_id, ()) if operator_id else (),
            machine_session=at_machine.as_fact() if at_machine and at_machine.open_until >= now else None,
            operator_session=of_operator.as_fact() if of_operator and of_operator.open_until >= now else None,
            registry_age_s=snapshot.age_s(now),
        )
