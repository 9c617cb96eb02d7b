"""Duty 1: challenges, repeated requests, giving up, and which grants and commands are believed. Ids CHIP-1."""

import hmac
import time
from base64 import urlsafe_b64encode
from typing import Any

import msgspec
from joserfc.jwk import ECKey
from msgspec import Struct

from gateway.core.model import Request
from gateway.wire.tokens import Signer
from simulator.conformance.cases import expect
from simulator.conformance.chip.bench import Bench
from simulator.conformance.chip.broker import Arrived
from simulator.conformance.chip.kit import case

GIVES_UP_S = 30.0
GIVE_UP_TOLERANCE_S = 4.0
LATENCY_S = 0.2
"""Real time, from the act at the bench to the message at the kit."""
SHORTEST_CHALLENGE = 8
DUTY_1 = "What a chip does, 1"


# --- challenges ---------------------------------------------------------------------------------------------------


@case("CHIP-1.1", "A fresh random challenge at every boot", "每次上电生成新的随机挑战码", DUTY_1)
async def challenge_at_boot(bench: Bench) -> None:
    seen = []
    for _ in range(3):
        await bench.power_cycle()
        seen.append(bench.challenge())
    expect(len(set(seen)) == len(seen), "another challenge after each boot", seen)
    expect(min(map(len, seen)) >= SHORTEST_CHALLENGE, f"{SHORTEST_CHALLENGE} characters or more", seen)
    bench.at_rest()


@case(
    "CHIP-1.2",
    "A fresh challenge after a grant that it accepted; the old one fits no second grant",
    "接受授权后更换挑战码，旧挑战码不能再用",
    DUTY_1,
)
async def challenge_after_grant(bench: Bench) -> None:
    before = bench.mark()
    unlocked = await bench.unlock()
    await bench.fresh_challenge(unlocked.challenge, before)
    bench.command("lock", sid=unlocked.session_id, n=1, when="now", reason="remote")
    await bench.relay_becomes("open")
    mark = bench.mark()
    bench.allow(bench.grant(bench.new_id("phone"), unlocked.challenge))
    await bench.refused(mark)
    bench.at_rest()


@case(
    "CHIP-1.3",
    "A fresh challenge after a command that was addressed by it",
    "执行以挑战码寻址的命令后更换挑战码",
    DUTY_1,
)
async def challenge_after_command(bench: Bench) -> None:
    old, mark = bench.challenge(), bench.mark()
    bench.command("lock", cha=old, when="now", reason="remote")
    await bench.fresh_challenge(old, mark)
    bench.at_rest()


# --- an unanswered request ----------------------------------------------------------------------------------------


class Unanswered(Struct, frozen=True):
    """What a device did about a scan that nobody answered; ``gave_up_s`` is when its challenge changed, its seconds."""

    request: Request
    copies: list[Arrived]
    gave_up_s: float | None
    scanned_at: float


async def unanswered_scan(bench: Bench) -> Unanswered:
    """Played once: nobody answers, then the 30 s pass."""
    mark, scanned_at = bench.mark(), time.monotonic()
    request = await bench.scan()
    longest_s = GIVES_UP_S + GIVE_UP_TOLERANCE_S + bench.options.prompt_s * bench.options.scale
    gave_up = await bench.broker.until(lambda: _gave_up(bench, mark, request.challenge), bench.real(longest_s))
    await bench.quiet()
    copies = [message for message in bench.since(mark) if message.kind == "request"]
    gave_up_s = (gave_up - scanned_at) * bench.options.scale if gave_up else None
    if gave_up_s is not None:
        bench.at_rest()
    return Unanswered(request, copies, gave_up_s, scanned_at)


def _gave_up(bench: Bench, mark: int, challenge: str) -> float | None:
    """When a status told another challenge."""
    for message in bench.since(mark):
        if message.kind == "status" and getattr(message.content, "challenge", challenge) != challenge:
            return message.at
    return None


@case(
    "CHIP-1.4",
    "An unanswered request is repeated with the same id, byte for byte",
    "未得到答复时以相同编号逐字节重发请求",
    DUTY_1,
    takes_s=34,
)
async def repeats(bench: Bench) -> None:
    seen = await bench.observed(unanswered_scan)
    expect(len(seen.copies) >= 2, "the request at least twice within 30 s", len(seen.copies))
    other = {message.payload for message in seen.copies}
    expect(len(other) == 1, "the same bytes each time", f"{len(other)} different payloads")


@case(
    "CHIP-1.5",
    "It gives a request up after 30 s by its own clock, with a fresh challenge",
    "30 秒无答复则放弃并更换挑战码",
    DUTY_1,
)
async def gives_up(bench: Bench) -> None:
    seen = await bench.observed(unanswered_scan)
    expect(seen.gave_up_s is not None, "a fresh challenge after 30 s", "none")
    off_s = abs((seen.gave_up_s or 0.0) - GIVES_UP_S)
    allowed_s = GIVE_UP_TOLERANCE_S + LATENCY_S * bench.options.scale
    expect(off_s <= allowed_s, "giving up after 30 s", f"{seen.gave_up_s:.1f} s")
    late = [
        message
        for message in seen.copies
        if (message.at - seen.scanned_at) * bench.options.scale > GIVES_UP_S + allowed_s
    ]
    expect(not late, "no repetition after giving up", f"{len(late)} more")


@case(
    "CHIP-1.6",
    "A grant for a request that it gave up is refused and reported, whatever its start-by",
    "放弃之后迟到的授权被拒绝并上报",
    DUTY_1,
)
async def late_grant(bench: Bench) -> None:
    seen = await bench.observed(unanswered_scan)
    mark = bench.mark()
    bench.allow(bench.grant(seen.request.request_id, seen.request.challenge))
    await bench.refused(mark)
    bench.at_rest()


# --- grants that must not be believed -----------------------------------------------------------------------------


async def refuses(bench: Bench, signer: Signer | None = None, *, retain: bool = False, **changes: Any) -> None:
    """A scan is answered with a grant that does not fit in one way."""
    request = await bench.scan()
    claims = bench.grant(request.request_id, request.challenge, **changes)
    mark = bench.mark()
    bench.allow(claims, request_id=request.request_id, token=signer.sign(claims) if signer else None, retain=retain)
    await bench.refused(mark)
    await bench.deny(request)
    bench.at_rest()


@case("CHIP-1.7", "A grant for another challenge is refused and reported", "挑战码不符的授权被拒绝并上报", DUTY_1)
async def other_challenge(bench: Bench) -> None:
    await refuses(bench, cha="AAAAAAAAAAAAAAAAAAAAAA")


@case("CHIP-1.8", "A grant for another machine is refused and reported", "发给其他设备的授权被拒绝并上报", DUTY_1)
async def other_machine(bench: Bench) -> None:
    await refuses(bench, aud="HJ-ANOTHER-1")


@case(
    "CHIP-1.9",
    "A grant past its start-by is refused and reported",
    "超过启动时限的授权被拒绝并上报",
    DUTY_1,
    needs=("clock",),
)
async def past_start_by(bench: Bench) -> None:
    now_s = bench.now_s()
    await refuses(bench, iat=now_s - 90, exp=now_s - 60)


@case("CHIP-1.10", "A grant with a bad signature is refused and reported", "签名错误的授权被拒绝并上报", DUTY_1)
async def bad_signature(bench: Bench) -> None:
    await refuses(bench, Signer(ECKey.generate_key("P-256")))


@case(
    "CHIP-1.11",
    "A grant whose claims were changed after signing is refused and reported",
    "签名后被篡改的授权被拒绝并上报",
    DUTY_1,
)
async def changed_claims(bench: Bench) -> None:
    request = await bench.scan()
    claims, mark = bench.grant(request.request_id, request.challenge), bench.mark()
    header, _, signature = bench.keys.signer.sign(claims).split(".")
    longer = _b64(msgspec.json.encode(claims | {"lease_s": 86_400}))
    bench.allow(claims, token=f"{header}.{longer}.{signature}")
    await bench.refused(mark)


@case(
    "CHIP-1.12",
    "Only the algorithms it was provisioned with: `none`, and HMAC with the public key, are refused and reported",
    "只接受预置的算法：none 及以公钥作 HMAC 的令牌均被拒绝并上报",
    "A grant and a command are JWS compact tokens",
)
async def other_algorithms(bench: Bench) -> None:
    request = await bench.scan()
    claims = bench.grant(request.request_id, request.challenge)
    for token in (_unsigned(claims), _hmac_by_public_key(bench, claims)):
        mark = bench.mark()
        bench.allow(claims, token=token)
        await bench.refused(mark)


def _unsigned(claims: dict[str, Any]) -> str:
    header = b'{"alg": "none"}'
    return f"{_b64(header)}.{_b64(msgspec.json.encode(claims))}."


def _hmac_by_public_key(bench: Bench, claims: dict[str, Any]) -> str:
    """The classic: the verifier's public key, which everybody has, taken as a shared secret."""
    secret = bench.keys.key.as_pem(private=False)
    header = {"alg": "HS256", "kid": bench.keys.signer.kid}
    signed = f"{_b64(msgspec.json.encode(header))}.{_b64(msgspec.json.encode(claims))}"
    return f"{signed}.{_b64(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


@case("CHIP-1.13", "A grant that arrives retained is refused and reported", "以保留消息到达的授权被拒绝并上报", DUTY_1)
async def retained_grant(bench: Bench) -> None:
    await refuses(bench, retain=True)


@case(
    "CHIP-1.14",
    "A grant inside a decision on another request is refused and reported",
    "授权与决定的请求编号不符时拒绝并上报",
    "Grant claims: jti = request_id",
)
async def other_request(bench: Bench) -> None:
    await refuses(bench, jti="another-request-1")


@case("CHIP-1.15", "A used grant opens nothing a second time, however it comes back", "用过的授权不能再次解锁", DUTY_1)
async def used_grant(bench: Bench) -> None:
    unlocked = await bench.unlock()
    bench.command("lock", sid=unlocked.session_id, n=1, when="now", reason="remote")
    await bench.relay_becomes("open")
    mark = bench.mark()
    bench.say(bench.decision_topic, unlocked.sent)
    await bench.refused(mark)
    bench.at_rest()


@case("CHIP-1.16", "A grant from before a power failure opens nothing after it", "断电前的授权在上电后无效", DUTY_1)
async def grant_across_boot(bench: Bench) -> None:
    request = await bench.scan()
    claims = bench.grant(request.request_id, request.challenge)
    await bench.power_cycle()
    mark = bench.mark()
    bench.allow(claims)
    await bench.refused(mark)
    bench.at_rest()


# --- unlock by phone ----------------------------------------------------------------------------------------------


@case(
    "CHIP-1.17",
    "An unlock by phone: a grant for the challenge of its latest status is accepted",
    "手机解锁：针对最新状态挑战码的授权被接受",
    DUTY_1,
)
async def by_phone(bench: Bench) -> None:
    unlocked = bench.allow(bench.grant(bench.new_id("phone"), bench.challenge()))
    await bench.relay_becomes("closed")
    await bench.event("unlocked", session_id=unlocked.session_id)
    await bench.lock(unlocked)


@case(
    "CHIP-1.18",
    "An unlock by phone past its start-by is refused and reported like any other",
    "手机解锁同样检查启动时限",
    DUTY_1,
    needs=("clock",),
)
async def by_phone_late(bench: Bench) -> None:
    now_s, mark = bench.now_s(), bench.mark()
    bench.allow(bench.grant(bench.new_id("phone"), bench.challenge(), iat=now_s - 90, exp=now_s - 60))
    await bench.refused(mark)
    bench.at_rest()


# --- commands -----------------------------------------------------------------------------------------------------


async def refuses_renewal(bench: Bench, signer: Signer | None = None, *, retain: bool = False, **changes: Any) -> None:
    """In a session a renewal arrives that does not fit in one way: reported, and the lease ends when it would."""
    unlocked = await bench.unlock()
    await bench.pause(unlocked.lease_s * 0.5)
    mark = bench.mark()
    fit = {"sid": unlocked.session_id, "n": 1, "lease_s": 10 * unlocked.lease_s}
    bench.command("renew", signer=signer, retain=retain, **fit | changes)
    await bench.event("grant_rejected", mark)
    await bench.relay_becomes("open", device_s=unlocked.lease_s * 0.5)
    await bench.event("locked", session_id=unlocked.session_id)
    bench.at_rest()


@case(
    "CHIP-1.19",
    "A command with a bad signature is refused and reported",
    "签名错误的命令被拒绝并上报",
    DUTY_1,
    takes_s=3,
)
async def command_signature(bench: Bench) -> None:
    await refuses_renewal(bench, Signer(ECKey.generate_key("P-256")))


@case(
    "CHIP-1.20",
    "A command for another machine is refused and reported",
    "发给其他设备的命令被拒绝并上报",
    DUTY_1,
    takes_s=3,
)
async def command_machine(bench: Bench) -> None:
    await refuses_renewal(bench, aud="HJ-ANOTHER-1")


@case(
    "CHIP-1.21",
    "A command that arrives retained is refused and reported",
    "以保留消息到达的命令被拒绝并上报",
    "Ground rules",
    takes_s=3,
)
async def command_retained(bench: Bench) -> None:
    await refuses_renewal(bench, retain=True)


@case(
    "CHIP-1.22",
    "A command past its time is refused and reported",
    "过期的命令被拒绝并上报",
    DUTY_1,
    takes_s=3,
    needs=("clock",),
)
async def command_late(bench: Bench) -> None:
    now_s = bench.now_s()
    await refuses_renewal(bench, iat=now_s - 90, exp=now_s - 60)


@case(
    "CHIP-1.23",
    "A command for another session is refused and reported",
    "发给其他会话的命令被拒绝并上报",
    "Command claims: sid",
    takes_s=3,
)
async def command_session(bench: Bench) -> None:
    await refuses_renewal(bench, sid="another-session-1")
