"""What goes wrong in other locks of this kind. Ids OTHERS, numbered as in the project's list of such faults."""

from gateway.core.model import Event
from gateway.wire.codec import encode
from gateway.wire.messages import DecisionMessage
from simulator.conformance import mqtt
from simulator.conformance.cases import expect
from simulator.conformance.chip.bench import Bench
from simulator.conformance.chip.evidence import numbers
from simulator.conformance.chip.kit import case

WHERE = "Where others fail"
TEMPTING = ("ADMIN", "0000", "MASTER", "*", "maintenance", "WG1/ADMIN/0/AAAAAAAAAAAAAAAA", "P000123'; --", "授权")


@case(
    "OTHERS-04-CHIP",
    "An unlock reply left on the broker does not fire at the next subscribe",
    "代理上残留的解锁答复在重新订阅时不得生效",
    f"{WHERE}, 4",
)
async def retained_reply(bench: Bench) -> None:
    """The cruellest form: the request is still open and the grant fits in everything; only the retained flag is set."""
    request = await bench.scan()
    claims = bench.grant(request.request_id, request.challenge)
    mark = bench.mark()
    bench.broker.cut()
    await bench.back_on_air(mark)
    mark = bench.mark()
    bench.allow(claims, retain=True)
    await bench.refused(mark)


@case(
    "OTHERS-06-CHIP",
    "A reset while offline loses neither the start of a session nor its end",
    "断网时复位：会话的开始与结束都不丢失",
    f"{WHERE}, 6",
)
async def reset_while_offline(bench: Bench) -> None:
    bench.broker.acknowledges = False
    unlocked = await bench.unlock(lease_s=max(bench.lease_s, 600))
    bench.broker.acknowledges = True
    await bench.power_off()
    bench.broker.cut()
    mark = bench.mark()
    await bench.power_on()
    began = await bench.event("unlocked", mark, session_id=unlocked.session_id)
    ended = await bench.event("boot", mark, session_id=unlocked.session_id)
    expect(began.seq < ended.seq, "`unlocked` before `boot`", (began.seq, ended.seq))
    bench.at_rest()


@case(
    "OTHERS-07-CHIP",
    "With the server silent or away nobody passes",
    "服务器无响应或断线时任何人不得解锁",
    f"{WHERE}, 7",
)
async def server_down(bench: Bench) -> None:
    await bench.scan()
    await bench.relay_stays("open")
    await bench.cut_off()
    await bench.do("scan", badge=bench.options.badge)
    await bench.relay_stays("open")


@case(
    "OTHERS-08-CHIP",
    "No badge bypasses the gateway: every text is asked about",
    "没有任何“万能卡”：一律向网关请求",
    f"{WHERE}, 8",
)
async def no_master_badge(bench: Bench) -> None:
    for text in TEMPTING:
        request = await bench.scan(text)
        expect(request.credential == text, f"a request with exactly {text!r}", request.credential)
        expect(await bench.relay_now() == "open", "the relay open", f"closed by {text!r}")
        await bench.deny(request, "credential_unknown")
    await bench.relay_stays("open")
    bench.at_rest()


@case(
    "OTHERS-09-CHIP",
    "A refusal is shown to the welder",
    "拒绝原因向焊工显示",
    f"{WHERE}, 9",
    kind="should",
    needs=("display",),
)
async def refusal_is_shown(bench: Bench) -> None:
    request = await bench.scan()
    await bench.deny(request, "certificate_expired")
    shown = (await bench.do("shown?")).shown or ""
    expect("certificate_expired" in shown or "操作证已过有效期" in shown, "the reason, or its code", shown or "nothing")
    bench.at_rest()


@case(
    "OTHERS-11-CHIP",
    "The word `allow` opens nothing: only a signed grant does",
    "仅有 allow 字样不得解锁，必须有签名授权",
    f"{WHERE}, 11",
)
async def bare_allow(bench: Bench) -> None:
    request = await bench.scan()
    for grant in (None, "", "allow", "a.b.c"):
        body = DecisionMessage(bench.now_s() * 1000, grant, "allow", (), request.request_id, "session-unsigned-1")
        bench.say(bench.decision_topic, encode(body))
    await bench.relay_stays("open")
    await bench.deny(request)
    bench.at_rest()


@case(
    "OTHERS-14-CHIP",
    "Bytes that are no MQTT end the connection and not the device: it comes back and works",
    "收到非 MQTT 字节后重新连接并恢复工作",
    f"{WHERE}, 14",
)
async def comes_back(bench: Bench) -> None:
    for garbage in (b"\xf0\x00", b"\x32\xff\xff\xff\xff\xff", bytes([mqtt.PUBLISH | 2, 3, 0, 9, 9])):
        mark = bench.mark()
        bench.broker.send(garbage)
        await bench.quiet()
        bench.broker.cut()
        await bench.back_on_air(mark)
    await bench.lock(await bench.unlock())


@case(
    "OTHERS-15-CHIP",
    "A power failure erases no evidence that was not yet sent",
    "断电不得清除尚未上报的证据",
    f"{WHERE}, 15",
)
async def evidence_survives(bench: Bench) -> None:
    await bench.do("tamper")
    before = await bench.event("tamper")
    await bench.cut_off()
    await bench.do("tamper")
    await bench.power_off()
    mark = bench.mark()
    bench.broker.accepts = True
    await bench.power_on()

    def kept() -> Event | None:
        return next((one for one in bench.events(mark) if one.kind == "tamper" and one.seq > before.seq), None)

    await bench.sees(kept, "the `tamper` of before the power failure")
    await bench.event("boot", mark)
    told = numbers(bench.events(mark))
    expect(told == sorted(told), "seq rising", told)
    bench.at_rest()


@case(
    "OTHERS-16-CHIP",
    "An answer is good only on the disk of the gateway: a lost decision is asked for again, same id",
    "决定丢失时以相同编号再次请求",
    f"{WHERE}, 5 and 16",
    takes_s=6,
)
async def lost_decision(bench: Bench) -> None:
    """The connection breaks before the answer: after it the same bytes are asked again and the answer is taken."""
    request = await bench.scan()
    mark = bench.mark()
    bench.broker.cut()
    await bench.back_on_air(mark)
    again = await bench.sees(lambda: next(iter(bench.requests(mark)), None), "the request again after the reconnect")
    expect(again == request, "the same request", again)
    unlocked = bench.allow(bench.grant(request.request_id, request.challenge))
    await bench.relay_becomes("closed")
    await bench.lock(unlocked)
