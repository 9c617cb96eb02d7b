"""The registry files' tables: their columns in both languages and how each column's text becomes a value."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from gateway.core.credential import CODE_PREFIX, LONGEST_OPERATOR_ID
from gateway.registry import values
from gateway.store.entries import (
    ANY,
    UNKNOWN_DAY,
    WITHDRAWN,
    CertificateEntry,
    EmploymentEntry,
    EnterpriseEntry,
    Entry,
    MachineEntry,
    OperatorEntry,
    PermitEntry,
    WorkHoursEntry,
)

Reader = Callable[[str], Any]
Doubt = Callable[[Any], str | None]
Check = Callable[[dict[str, Any]], str | None]
"""Given a line's values by the entry's names."""


class Column(Struct, frozen=True):
    """One column. ``read`` takes the cell's text ("" = empty) and raises Unreadable; ``doubt`` may give a reason for
    a warning; ``choices`` maps English values to Chinese ones; ``field`` is the entry's name for it."""

    name: str
    chinese: str
    read: Reader
    required: bool = False
    personal: bool = False
    doubt: Doubt | None = None
    choices: dict[str, str] = {}
    field: str = ""

    @property
    def into(self) -> str:
        return self.field or self.name


class Kind(Struct, frozen=True):
    """One registry file: its columns, its entries' key, periods as (first day, last day), days that another day
    stands in for, as (day, stand-in), and checks of a whole line, as (column, what is wrong with it or None)."""

    name: str
    chinese: str
    entry: Callable[..., Entry]
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    periods: tuple[tuple[str, str], ...] = ()
    stand_ins: tuple[tuple[str, str], ...] = ()
    checks: tuple[tuple[str, Check], ...] = ()

    @property
    def required(self) -> frozenset[str]:
        return frozenset(column.name for column in self.columns if column.required)


def _choice(name: str, chinese: str, choices: dict[str, str], also: dict[str, str] | None = None) -> Column:
    """A required column of fixed values; ``also`` holds further spellings that are understood."""
    return Column(name, chinese, values.chosen(choices, also or {}), required=True, choices=choices)


def _text(name: str, chinese: str, length: int) -> Column:
    return Column(name, chinese, values.optional(values.text(length)))


def _day(name: str, chinese: str) -> Column:
    return Column(name, chinese, values.optional(values.day))


def _over_before_it_begins(permit: dict[str, Any]) -> str | None:
    begins = permit["starts_at"]
    return (
        None if begins < permit["ends_at"] else f"is not after the beginning {values.shown_moment(begins)} (starts_at)"
    )


def _guards_himself(permit: dict[str, Any]) -> str | None:
    """A guardian known by name is compared nowhere: that two rows mean one person, no file tells."""
    alone = permit.get("guardian") == permit["operator_id"] != ANY
    return "is the welder (operator_id): somebody else has to watch for fire" if alone else None


def _any_or(column: Column) -> Column:
    """The same with empty cells for any of the firm. The column has to be there: without it a permit for one welder
    would be everybody's."""
    return replace(column, read=values.or_else(ANY, column.read))


_USCC = Column("uscc", "统一社会信用代码", values.required(values.uscc), required=True)
_OPERATOR_ID = Column(
    "operator_id",
    "人员编号",
    values.required(values.identifier(LONGEST_OPERATOR_ID, never=CODE_PREFIX)),
    required=True,
    doubt=values.personal_identifier,
)
_MACHINE_ID = Column("machine_id", "设备编号", values.required(values.machine_id), required=True)
_DIVISION = Column("division", "行政区划", values.required(values.division), required=True)

_ITEMS = {"fusion": "熔化焊接与热切割作业", "pressure": "压力焊作业", "brazing": "钎焊作业"}
_PROCESSES = {"fusion": "熔化焊", "pressure": "压力焊", "brazing": "钎焊"}
_ITEM_SPELLINGS = {"熔化焊接与热切割": "fusion", "压力焊": "pressure", "钎焊": "brazing"}
_ENTERPRISE_STATUS = {
    "active": "正常",
    "production_suspended": "停产整顿",
    "licence_suspended": "暂扣许可证",
    "closed": "注销",
}
_OPERATOR_STATUS = {"active": "正常", "blocked": "禁止"}
_CERTIFICATE_STATUS = {"valid": "有效", "suspended": "暂扣", "revoked": "吊销"}
_VERIFICATION = {"verified": "已核验", "unverified": "未核验", "counterfeit": "假证"}
_PERMIT_LEVEL = {"special": "特级", "grade_1": "一级", "grade_2": "二级"}
_PERMIT_STATUS = {"approved": "已批准", "withdrawn": "已撤销"}
_WITHDRAWN = {WITHDRAWN: "已撤销"}
_MACHINE_STATUS = {"active": "正常", "suspended": "停用", "decommissioned": "报废"}

ENTERPRISES = Kind(
    "enterprises",
    "企业",
    EnterpriseEntry,
    ("uscc",),
    (_USCC, _text("name", "企业名称", 256), _DIVISION, _choice("status", "状态", _ENTERPRISE_STATUS)),
)
OPERATORS = Kind(
    "operators",
    "人员",
    OperatorEntry,
    ("operator_id",),
    (
        _OPERATOR_ID,
        _text("name", "姓名", 128),
        Column("id_number", "身份证号", values.optional(values.id_number), personal=True, doubt=values.unknown_area),
        Column("phone", "手机号", values.optional(values.phone), personal=True, doubt=values.strange_phone),
        _choice("status", "状态", _OPERATOR_STATUS),
    ),
)
CERTIFICATES = Kind(
    "certificates",
    "证书",
    CertificateEntry,
    ("number", "item"),
    (
        Column(
            "number",
            "证号",
            values.required(values.identifier(64, upper=True)),
            required=True,
            personal=True,
            doubt=values.strange_certificate,
        ),
        _OPERATOR_ID,
        _text("category", "作业类别", 64),
        _choice("item", "准操项目", _ITEMS, _ITEM_SPELLINGS),
        _day("issued_on", "初领日期"),
        _day("valid_from", "有效期始"),
        Column("valid_until", "有效期止", values.required(values.day), required=True),
        _day("review_due", "应复审日期"),
        _day("reviewed_on", "实际复审日期"),
        _text("authority", "签发机关", 128),
        _choice("status", "状态", _CERTIFICATE_STATUS),
        Column(
            "verification",
            "核验结果",
            values.or_else("unverified", values.chosen(_VERIFICATION, {})),
            choices=_VERIFICATION,
        ),
    ),
    (("valid_from", "valid_until"),),
    (("valid_from", "issued_on"),),
)
EMPLOYMENTS = Kind(
    "employments",
    "从业",
    EmploymentEntry,
    ("operator_id", "uscc", "since"),
    (
        _OPERATOR_ID,
        _USCC,
        Column("from", "入职日期", values.or_else(UNKNOWN_DAY, values.day), field="since"),
        _day("until", "离职日期"),
    ),
    (("since", "until"),),
)
MACHINES = Kind(
    "machines",
    "设备",
    MachineEntry,
    ("machine_id",),
    (
        _MACHINE_ID,
        _text("chip", "芯片号", 64),
        _USCC,
        _choice("process", "焊接方法", _PROCESSES, _ITEM_SPELLINGS | {"熔化焊接与热切割作业": "fusion"}),
        _DIVISION,
        _text("location", "安装地点", 256),
        _choice("status", "状态", _MACHINE_STATUS),
    ),
)
PERMITS = Kind(
    "permits",
    "动火作业票",
    PermitEntry,
    ("permit_id", "operator_id", "machine_id"),
    (
        Column(
            "permit_id",
            "作业票编号",
            values.required(values.identifier(64)),
            required=True,
            doubt=values.personal_identifier,
        ),
        _USCC,
        _any_or(_OPERATOR_ID),
        _any_or(_MACHINE_ID),
        _choice("level", "作业等级", _PERMIT_LEVEL, {"特殊": "special"}),
        Column(
            "guardian",
            "监护人",
            values.optional(values.text(256, folded=True)),
            doubt=values.personal_identifier,
        ),
        Column("starts_at", "开始时间", values.required(values.moment), required=True),
        Column("ends_at", "结束时间", values.required(values.moment), required=True),
        _choice("status", "状态", _PERMIT_STATUS),
    ),
    checks=(("ends_at", _over_before_it_begins), ("guardian", _guards_himself)),
)
WORK_HOURS = Kind(
    "work_hours",
    "作业时段",
    WorkHoursEntry,
    ("uscc", "machine_id", "days", "starts"),
    (
        _USCC,
        _any_or(_MACHINE_ID),
        Column("days", "星期", values.required(values.weekdays), required=True),
        Column("from", "开始", values.required(values.first_clock), required=True, field="starts"),
        Column(
            "until",
            "结束",
            values.required(values.either(_WITHDRAWN, values.clock)),
            required=True,
            choices=_WITHDRAWN,
            field="ends",
        ),
    ),
)
KINDS = (ENTERPRISES, OPERATORS, CERTIFICATES, EMPLOYMENTS, MACHINES, PERMITS, WORK_HOURS)
