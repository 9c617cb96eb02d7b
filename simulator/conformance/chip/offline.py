"""Unlocks by a signed list while there is no network, and configuration by command. Ids CHIP-7."""

from typing import Any

from gateway.core.credential import offline_digest
from gateway.core.model import Request
from simulator.conformance import clocks
from simulator.conformance.cases import expect
from simulator.conformance.chip.bench import Bench
from simulator.conformance.chip.kit import case

LIST = "Command claims: offline_list"
NEEDS = ("offline", "clock")
LISTED, ADDED, STRANGER, FOREIGNER = "OFFLINE-1", "OFFLINE-2", "OFFLINE-3", "OFFLINE-4"
DAY_S = 86_400
HOUR_MS = 3_600_000


async def give_list(bench: Bench, *badges: str, base: int | None = None, **changes: Any) -> int:
    """Send a list (or with ``base`` a difference) addressed by the present challenge; its version, once taken."""
    until_s = bench.now_s() + changes.pop("valid_s", DAY_S)
    entries = [(offline_digest(bench.options.machine_id, badge), until_s) for badge in badges]
    version = bench.next_list_version()
    claims: dict[str, Any] = {
        "list_version": version,
        "entries": entries,
        "offline_for_s": DAY_S,
        "lease_s": bench.lease_s,
    }
    claims |= {"base_version": base} if base is not None else {}
    old, mark = bench.challenge(), bench.mark()
    bench.command("offline_list", cha=old, **claims | changes)
    await bench.fresh_challenge(old, mark)
    return version


async def scan_offline(bench: Bench, badge: str) -> None:
    await bench.do("scan", badge=badge)


async def opens_nothing(bench: Bench, badge: str) -> None:
    """Without network this badge does not unlock."""
    await bench.cut_off()
    await scan_offline(bench, badge)
    await bench.relay_stays("open")


@case(
    "CHIP-7.1",
    "Without network a listed credential unlocks; `offline_unlock` follows with entry, list_version and lease_s",
    "断网时名单内的凭证可解锁，事后补报 offline_unlock",
    LIST,
    needs=NEEDS,
)
async def listed(bench: Bench) -> None:
    version = await give_list(bench, LISTED)
    await bench.cut_off()
    await scan_offline(bench, LISTED)
    await bench.relay_becomes("closed")
    await bench.network_back()
    event = await bench.event("offline_unlock")
    wanted = (offline_digest(bench.options.machine_id, LISTED), version)
    told = (event.detail.get("entry"), event.detail.get("list_version"))
    expect(told == wanted, f"detail.entry and detail.list_version {wanted}", told)
    lease_s = event.detail.get("lease_s")
    expect(isinstance(lease_s, int) and lease_s >= 1, "detail.lease_s", lease_s)
    expect(event.session_id is not None, "a session_id of the chip's own", event.session_id)


@case("CHIP-7.2", "A credential that is not listed unlocks nothing", "不在名单内的凭证不得解锁", LIST, needs=NEEDS)
async def not_listed(bench: Bench) -> None:
    await give_list(bench, LISTED)
    await opens_nothing(bench, STRANGER)


@case(
    "CHIP-7.3",
    "While connected the list unlocks nothing: the gateway is asked",
    "在线时不使用名单，必须请求网关",
    LIST,
    needs=NEEDS,
)
async def never_while_connected(bench: Bench) -> None:
    await give_list(bench, LISTED)
    mark = bench.mark()
    await scan_offline(bench, LISTED)
    asked: Request = await bench.sees(lambda: next(iter(bench.requests(mark)), None), "a request")
    await bench.relay_stays("open")
    await bench.deny(asked)
    bench.at_rest()


@case("CHIP-7.4", "An entry past its end unlocks nothing", "过期的名单条目不得解锁", LIST, needs=NEEDS)
async def past_its_end(bench: Bench) -> None:
    await give_list(bench, LISTED, valid_s=-1)
    await opens_nothing(bench, LISTED)


@case(
    "CHIP-7.5",
    "Longer than offline_for_s after the last signed word of the gateway the list unlocks nothing",
    "距上次联系超过 offline_for_s 后名单失效",
    LIST,
    takes_s=4,
    needs=NEEDS,
)
async def offline_for_too_long(bench: Bench) -> None:
    await give_list(bench, LISTED, offline_for_s=2)
    await bench.pause(4)
    await opens_nothing(bench, LISTED)


@case(
    "CHIP-7.6",
    "Setting the clock back does not prolong the list",
    "回拨时钟不得延长名单",
    LIST,
    takes_s=4,
    needs=NEEDS,
)
async def clock_set_back(bench: Bench) -> None:
    await give_list(bench, LISTED, offline_for_s=2)
    await bench.pause(4)
    await bench.do("set_clock", unix_ms=clocks.wall_ms(bench.options.scale) - HOUR_MS)
    await opens_nothing(bench, LISTED)


@case(
    "CHIP-7.7",
    "A difference adds and removes on the list that it builds on",
    "差异名单在其基础版本上增删",
    LIST,
    needs=NEEDS,
)
async def difference(bench: Bench) -> None:
    version = await give_list(bench, LISTED)
    gone = (offline_digest(bench.options.machine_id, LISTED),)
    await give_list(bench, ADDED, base=version, gone=gone)
    await opens_nothing(bench, LISTED)
    await scan_offline(bench, ADDED)
    await bench.relay_becomes("closed")


@case(
    "CHIP-7.8",
    "A difference to a list that it does not hold is refused and reported",
    "基础版本不符的差异名单被拒绝并上报",
    LIST,
    needs=NEEDS,
)
async def other_base(bench: Bench) -> None:
    version = await give_list(bench, LISTED)
    mark = bench.mark()
    entries = [(offline_digest(bench.options.machine_id, STRANGER), bench.now_s() + DAY_S)]
    claims: dict[str, Any] = {"list_version": bench.next_list_version(), "base_version": version - 1}
    claims |= {"entries": entries, "offline_for_s": DAY_S, "lease_s": bench.lease_s}
    bench.command("offline_list", cha=bench.challenge(), **claims)
    await bench.event("grant_rejected", mark)
    await opens_nothing(bench, STRANGER)


@case(
    "CHIP-7.9",
    "A list for another machine is refused and reported",
    "发给其他设备的名单被拒绝并上报",
    LIST,
    needs=NEEDS,
)
async def list_of_another_machine(bench: Bench) -> None:
    mark = bench.mark()
    entries = [(offline_digest(bench.options.machine_id, FOREIGNER), bench.now_s() + DAY_S)]
    claims: dict[str, Any] = {"list_version": bench.next_list_version(), "entries": entries, "aud": "HJ-ANOTHER-1"}
    claims |= {"offline_for_s": DAY_S, "lease_s": bench.lease_s}
    bench.command("offline_list", cha=bench.challenge(), **claims)
    await bench.event("grant_rejected", mark)
    await opens_nothing(bench, FOREIGNER)


@case(
    "CHIP-7.10",
    "An unlock by the list lasts no longer than the list's lease_s",
    "离线解锁时长不超过名单的 lease_s",
    LIST,
    takes_s=4,
    needs=NEEDS,
)
async def lease_of_the_list(bench: Bench) -> None:
    await give_list(bench, LISTED)
    await bench.cut_off()
    await scan_offline(bench, LISTED)
    await bench.relay_becomes("closed")
    await bench.relay_becomes("open", device_s=bench.lease_s)


@case(
    "CHIP-7.11",
    "A `config` command sets the idle lock",
    "config 命令可设置空闲锁定时间",
    "Command claims: config",
    takes_s=8,
    needs=("config",),
)
async def configured_idle_lock(bench: Bench) -> None:
    """Half of what it was, and put back at the end."""
    idle_s = bench.options.idle_lock_s
    await _configure(bench, idle_lock_s=idle_s // 2)
    try:
        unlocked = await bench.unlock(lease_s=max(bench.lease_s, 20 * idle_s))
        await bench.relay_becomes("open", device_s=idle_s // 2 - bench.options.prompt_s * bench.options.scale * 0.5)
        await bench.event("locked", session_id=unlocked.session_id)
    finally:
        await _configure(bench, idle_lock_s=idle_s)


async def _configure(bench: Bench, **claims: Any) -> None:
    old, mark = bench.challenge(), bench.mark()
    bench.command("config", cha=old, **claims)
    await bench.fresh_challenge(old, mark)
