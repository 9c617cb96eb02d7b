"""The right to unlock without a connection: the list that a chip holds, and how long ago it heard from the gateway.

Pure. Whatever can be doubted about the time counts as later than it is, so that no clock prolongs the right.
"""

from msgspec import UNSET, Struct

from gateway.core.credential import offline_digest
from gateway.wire.tokens import Command
from simulator.grants import RefusedError
from simulator.signals import Moment


class Right(Struct, frozen=True):
    """What a listed credential may do now: unlock for so long, by this entry of this list."""

    entry: str
    list_version: int
    lease_s: int


class HeldList(Struct, frozen=True):
    """A list as it was sent; ``until`` by digest, in seconds since 1970."""

    version: int
    until: dict[str, int]
    for_s: int
    lease_s: int


class Contact(Struct, frozen=True):
    """The last signed token, in Unix milliseconds; ``skew_ms`` is the wall clock's lead over the monotonic one."""

    at_ms: int
    skew_ms: int

    def time_ms(self, wall_ms: int, mono_ms: int) -> int:
        """The latest that it can be by either clock."""
        return max(wall_ms, mono_ms + self.skew_ms)


class OfflineRight:
    """Kept in flash: the list and the last contact. Without a contact that the clock can be held against, no right."""

    def __init__(self, machine_id: str) -> None:
        self._machine_id = machine_id
        self._held: HeldList | None = None
        self._contact: Contact | None = None

    @property
    def version(self) -> int | None:
        """Of the list held, None without one."""
        return self._held.version if self._held else None

    def take(self, command: Command) -> None:
        """A whole list, or a difference to the one held; raises RefusedError for one that does not fit on it."""
        held, whole = self._held, command.base_version is UNSET
        if not whole and command.base_version != self.version:
            raise self._refused("other_list", command)
        kept = {} if whole or held is None else {k: v for k, v in held.until.items() if k not in (command.gone or ())}
        until = kept | dict(command.entries or ())
        new = HeldList(command.list_version or 0, until, command.offline_for_s or 0, command.lease_s or 0)
        if held is not None and new.version <= held.version and not (whole and new == held):
            raise self._refused("replayed", command)
        self._held = new

    def _refused(self, reason: str, command: Command) -> RefusedError:
        detail = {"command_id": command.jti, "list_version": self.version}
        session_id = None if command.sid is UNSET else command.sid
        return RefusedError(reason, session_id, detail)

    def heard(self, issued_at_s: int, now: Moment) -> None:
        """A signed token was accepted. A clock that is behind the token's own time is believed no further."""
        if now.wall_ms is None:
            self._contact = None
        else:
            at_ms = max(now.wall_ms, issued_at_s * 1000)
            self._contact = Contact(at_ms, at_ms - now.mono_ms)

    def clock_jumped(self) -> None:
        """Nobody knows any more how long ago the last contact was."""
        self._contact = None

    def power_came(self, now: Moment) -> None:
        """The monotonic clock began anew: the wall clock alone counts, unless it shows a time before the contact."""
        contact, self._contact = self._contact, None
        if contact is not None and now.wall_ms is not None and now.wall_ms >= contact.at_ms:
            self._contact = Contact(contact.at_ms, now.wall_ms - now.mono_ms)

    def of(self, credential: str, now: Moment) -> Right | None:
        """What the credential may do now; None for nothing, also where less than a whole second would be left."""
        held, contact = self._held, self._contact
        entry = offline_digest(self._machine_id, credential)
        if held is None or contact is None or now.wall_ms is None or entry not in held.until:
            return None
        until_ms = min(held.until[entry] * 1000, contact.at_ms + held.for_s * 1000)
        lease_s = min(held.lease_s, (until_ms - contact.time_ms(now.wall_ms, now.mono_ms)) // 1000)
        return Right(entry, held.version, lease_s) if lease_s >= 1 else None
