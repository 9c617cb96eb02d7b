"""What authorised people have ordered and is still in force: held machines, sessions to end, overrides."""

from gateway.core.model import Control, Hold, Millis, Override


class Controls:
    """Built from the acts in their order; a later act takes the place of an earlier one."""

    def __init__(self) -> None:
        self._holds: dict[str, Hold] = {}
        self._ended: set[str] = set()
        self._overrides: dict[tuple[str, str], Override] = {}

    def take(self, control: Control) -> None:
        """Take over one act."""
        machine_id = control.machine_id or ""
        match control.act:
            case "lock":
                self._holds[machine_id] = Hold("locked", control.at)
            case "out_of_service":
                self._holds[machine_id] = Hold("out_of_service", control.at)
            case "release":
                self._holds.pop(machine_id, None)
            case "end_session":
                self._ended.add(control.session_id or "")
            case "override_approved":
                self._overrides[machine_id, control.operator_id or ""] = _override(control)
            case "override_ended":
                self._end_override((machine_id, control.operator_id or ""), control.override_id)
            case "override_asked":
                pass  # an override is in force once a second person has approved it

    def _end_override(self, whose: tuple[str, str], override_id: str | None) -> None:
        """End this one alone: a later one for the same person at the same machine stands."""
        override = self._overrides.get(whose)
        if override is not None and override.override_id == override_id:
            del self._overrides[whose]

    def hold(self, machine_id: str) -> Hold | None:
        return self._holds.get(machine_id)

    def is_ended(self, session_id: str) -> bool:
        """Whether somebody ordered the session's end."""
        return session_id in self._ended

    def override(self, machine_id: str, operator_id: str | None, now: Millis) -> Override | None:
        """The override in force for this person at this machine."""
        override = self._overrides.get((machine_id, operator_id or ""))
        return override if override is not None and override.since <= now < override.until else None

    def overrides(self, now: Millis) -> int:
        """How many overrides are in force."""
        return sum(override.since <= now < override.until for override in self._overrides.values())


def _override(control: Control) -> Override:
    return Override(
        override_id=control.override_id or "",
        codes=control.codes,
        level=control.level or "supervisor",
        since=control.at,
        until=control.until or control.at,
    )
