"""Passwords and PINs: argon2id (RFC 9106) in a thread, two at a time, since each takes 64 MiB and a core."""

import asyncio
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

AT_ONCE = 2
_hasher = PasswordHasher()
"""The library's defaults are the second recommended option of RFC 9106, section 4: 64 MiB, three passes."""
_room = asyncio.Semaphore(AT_ONCE)


def hash_of(secret: str) -> str:
    """Takes a tenth of a second of a core: for the event loop there is ``hashed``."""
    return _hasher.hash(secret)


async def hashed(secret: str) -> str:
    async with _room:
        return await asyncio.to_thread(hash_of, secret)


async def fits(kept: str | None, secret: str) -> bool:
    """Whether the secret is the one. Without a hash nothing fits, and it takes as long: time tells nobody anything."""
    async with _room:
        right = await asyncio.to_thread(_verify, kept, secret)
    return right and kept is not None


def _verify(kept: str | None, secret: str) -> bool:
    try:
        return _hasher.verify(kept or _nobodys(), secret)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys() -> str:
    return _hasher.hash("nobody has this")
