"""What the portal calls things, in Chinese: translated where it is shown."""

from collections.abc import Iterable, Mapping
from datetime import date

from msgspec import Struct

from gateway.core.colour import Cause, Standing, explained
from gateway.core.model import CertificateStatus, Colour, Process, Resolver, Verification
from gateway.core.reasons import REASONS, Reason
from gateway.core.session import EndReason
from gateway.core.session import State as SessionState
from gateway.registry.acts import OverrideState
from gateway.registry.values import without_numbers

COLOURS: Mapping[Colour, str] = {"blue": "蓝码", "yellow": "黄码", "red": "红码", "grey": "灰码"}
STANDINGS: Mapping[str, str] = {
    "in_order": "一切正常",
    "soon": "有事要办",
    "barred": "不能作业",
    "none": "没有证书记录",
}
PROCESSES: Mapping[Process, str] = {"fusion": "熔化焊接与热切割", "pressure": "压力焊", "brazing": "钎焊"}
CERTIFICATE_STATUS: Mapping[CertificateStatus, str] = {"valid": "有效", "suspended": "已暂扣", "revoked": "已吊销"}
VERIFICATION: Mapping[Verification, str] = {"verified": "已核验", "unverified": "还没核验", "counterfeit": "假证"}
MACHINE_STATES: Mapping[str, str] = {
    "granted": "已许可，等待合闸",
    "unlocked": "已解锁",
    "welding": "正在焊接",
    "idle": "已解锁，未焊接",
    "draining": "正在上锁",
    "locked": "已锁定",
    "out_of_service": "已停用",
    "suspended": "登记为停用",
    "silent": "锁具不在线",
    "never": "锁具从未联系",
    "free": "空闲，已上锁",
    "decommissioned": "已报废",
}
"""One for each machine, in the order in which they are told."""
MACHINE_STYLES: Mapping[str, str] = {
    **dict.fromkeys(("granted", "unlocked", "welding", "idle", "draining"), "good"),
    **dict.fromkeys(("locked", "out_of_service", "suspended", "decommissioned", "silent"), "bad"),
}
SESSION_STATES: Mapping[SessionState, str] = {
    "granted": "已许可，等待合闸",
    "unlocked": "已解锁",
    "welding": "正在焊接",
    "idle": "已解锁，未焊接",
    "draining": "正在上锁",
    "ended": "已结束",
}
ENDS: Mapping[EndReason, str] = {
    "operator": "焊工结束作业",
    "idle": "太久没有焊接",
    "lease_over": "许可时间到",
    "revoked": "资格或登记有变化",
    "remote": "按要求结束",
    "out_of_service": "焊机停用",
    "tamper": "锁具外壳被打开",
    "no_session": "锁具与系统记录不一致",
    "replaced": "重新解锁代替",
    "offline_too_long": "锁具太久失联",
    "power": "锁具断电",
    "unused": "许可没有用上",
    "grant_rejected": "锁具没有接受许可",
    "locked": "锁具自行上锁",
}
RESOLVERS: Mapping[Resolver, str] = {
    "operator": "本人",
    "enterprise": "企业",
    "regulator": "应急管理部门",
    "training_centre": "培训机构",
    "machine_vendor": "焊机厂家",
    "gateway_operator": "系统管理员",
}
GRANT_STATES: Mapping[OverrideState, str] = {
    "asked": "待批准",
    "lapsed": "没有批准，已失效",
    "in_force": "生效中",
    "ended": "已结束",
    "over": "已到期",
}


class Explained(Struct, frozen=True):
    """A cause with its words."""

    cause: Cause
    reason: Reason


def causes_of(standing: Standing) -> list[Explained]:
    return [Explained(cause, explained(cause.code)) for cause in standing.causes]


def reasons_of(codes: Iterable[str]) -> list[Reason]:
    """Codes of records that a later version wrote are left out."""
    return [REASONS[code] for code in codes if code in REASONS]


def counted(standings: Iterable[Standing]) -> list[tuple[Colour, int]]:
    """How many people have which colour, the worst first; none of a colour is told, too."""
    colours = [standing.colour for standing in standings]
    order: tuple[Colour, ...] = ("red", "yellow", "grey", "blue")
    return [(colour, colours.count(colour)) for colour in order]


def shown_again(typed: str) -> str:
    """What somebody typed, for a form to hold it still. INVARIANT: no personal number in the wrong field is repeated.

    >>> shown_again("HJ-0001"), shown_again("12900000001")
    ('HJ-0001', '')
    """
    return typed if without_numbers(typed) == typed else ""


def read_day(text: str) -> date | None:
    """A day as browsers send it (HTML, 2.3.5.2); None for anything else."""
    try:
        return date.fromisoformat(text) if len(text) == len("2026-01-01") else None
    except ValueError:
        return None
