"""One decision explained: every rule, the facts, and a proof that fails where the ledger was touched."""

import re

import pytest

from gateway.core.model import PhoneAsk
from gateway.core.policy import Policy, Rulebook, document
from gateway.store.journal import keep_policy
from simulator.signals import Scanned
from tests.site.console_town import OURS, decision_of, records
from tests.site.gate import until
from tests.site.served import NOW, Town, Visitor


async def decided(site: Town) -> int:
    """The number of a refusal that the real gate recorded."""
    policy = Policy()
    with site.engine.connect() as connection:
        keep_policy(connection, Rulebook(policy).hash, document(policy), NOW)
    lock = await site.gate.lock()
    lock.feed(Scanned("P-2", "scan"))
    await until(lambda: len(records(site, "decision")) == 1)
    return decision_of(site, "HJ-0001")


async def page(visitor: Visitor, seq: int) -> str:
    shown = await visitor.get(f"/r/decisions/{seq}")
    assert shown.status == 200
    return shown.text


def result(text: str, code: str) -> str:
    """What the table of checks says of a code."""
    found = re.search(rf'<th scope="row"><code>{code}</code>.*?<span class="state[^"]*">(.*?)</span>', text, re.DOTALL)
    assert found, code
    return found[1]


async def test_a_refusal_tells_every_rule_and_fact_and_is_proved(site: Town) -> None:
    seq = await decided(site)
    async with site.visitor("regulator", where=OURS) as visitor:
        text = await page(visitor, seq)
        for told in ("拒绝解锁", "本人已被禁止作业", "与账本相符", "✓ 重新计算的摘要相同", "再决定一次，结果相同"):
            assert told in text, told
        assert (result(text, "operator_blocked"), result(text, "machine_unknown")) == ("拒绝", "通过")
        assert (result(text, "permit_missing"), result(text, "certificate_expired")) == ("未启用", "不适用，未看")
        assert "样**" in text
        assert "样例乙" not in text
        english = (await visitor.get(f"/language/en?to=/r/decisions/{seq}")).text
        for told in ("Unlock refused", "Agrees with the ledger", "Every check"):
            assert told in english, told


async def test_what_was_asked_by_phone_says_so(site: Town) -> None:
    await site.gate.lock()
    await site.gate.ask(PhoneAsk("HJ-0001", "P-2", "by-phone-0001", "account-1"), 5.0)
    async with site.visitor("regulator", where=OURS) as visitor:
        text = await page(visitor, decision_of(site, "HJ-0001"))
        assert "手机登录账号" in text
        for told in ("· 手机 ·", "account-1", "在线 · 时钟相差"):
            assert told in text, told
        assert (await visitor.get("/r/decisions")).status == 200


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("UPDATE ledger SET outcome = 'allow' WHERE seq = {0}", "✗ 重新计算的摘要不同"),
        ("UPDATE ledger SET hash = zeroblob(32) WHERE seq = {0}", "✗ 它写的不是本记录的摘要"),
        ("DELETE FROM ledger WHERE seq < {0}", "✗ 本记录写的不是它的摘要"),
        ("DELETE FROM ledger WHERE seq > {0}", "✗ 它写的不是本记录的摘要"),
    ],
)
async def test_a_ledger_that_was_touched_is_told(site: Town, sql: str, told: str) -> None:
    seq = await decided(site)
    async with site.visitor("regulator", where=OURS) as visitor:
        assert "与账本相符" in await page(visitor, seq)
        with site.engine.begin() as connection:
            connection.exec_driver_sql(sql.format(seq))
        text = await page(visitor, seq)
        assert "与账本不符" in text
        assert told in text


async def test_a_policy_that_is_gone_is_told(site: Town) -> None:
    lock = await site.gate.lock()
    lock.feed(Scanned("P-2", "scan"))
    await until(lambda: len(records(site, "decision")) == 1)
    async with site.visitor("regulator", where=OURS) as visitor:
        text = await page(visitor, decision_of(site, "HJ-0001"))
        assert "当时的规则文件已不在数据库里" in text
        assert "每一项检查" not in text
