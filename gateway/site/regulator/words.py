"""What the console calls things, in Chinese: translated where it is shown."""

from collections.abc import Mapping

from gateway.core.colour import explained as explained
from gateway.core.genuine import masked_name as masked_name
from gateway.core.model import (
    CertificateStatus,
    Colour,
    ControlAct,
    CredentialKind,
    EnterpriseStatus,
    MachineStatus,
    Method,
    OperatorStatus,
    OverrideLevel,
    PermitLevel,
    PermitStatus,
    Process,
    Resolver,
    Verification,
)
from gateway.core.session import DrainReason, EndReason
from gateway.core.session import State as SessionState
from gateway.core.trace import Result
from gateway.store.figures.machines import MachineState

COLOURS: Mapping[Colour, str] = {"blue": "蓝码", "yellow": "黄码", "red": "红码", "grey": "灰码"}
STANDINGS: Mapping[str, str] = {
    "in_order": "一切正常",
    "soon": "有事要办",
    "barred": "不能作业",
    "none": "没有证书记录",
}
PROCESSES: Mapping[Process, str] = {"fusion": "熔化焊接与热切割", "pressure": "压力焊", "brazing": "钎焊"}
CERTIFICATE_STATUS: Mapping[CertificateStatus, str] = {"valid": "有效", "suspended": "已暂扣", "revoked": "已吊销"}
VERIFICATION: Mapping[Verification, str] = {
    "verified": "已核验",
    "unverified": "还没核验",
    "counterfeit": "假证",
}
OPERATOR_STATUS: Mapping[OperatorStatus, str] = {"active": "在册", "blocked": "已停止作业资格"}
ENTERPRISE_STATUS: Mapping[EnterpriseStatus, str] = {
    "active": "正常",
    "production_suspended": "停产整顿",
    "licence_suspended": "许可证暂扣",
    "closed": "已关闭",
}
MACHINE_STATUS: Mapping[MachineStatus, str] = {"active": "在用", "suspended": "已暂停", "decommissioned": "已报废"}
MACHINE_STATES: Mapping[MachineState, str] = {
    "welding": "正在焊接",
    "unlocked": "已解锁",
    "online": "在线",
    "silent": "失联",
    "never_used": "从未使用",
    "out_of_service": "停用或锁定",
}
"""In the order in which they are told."""
MACHINE_STYLES: Mapping[MachineState, str] = {
    "welding": "good",
    "unlocked": "good",
    "online": "",
    "silent": "grey",
    "never_used": "",
    "out_of_service": "bad",
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
DRAINS: Mapping[DrainReason, str] = {
    reason: ENDS[reason] for reason in ("idle", "revoked", "remote", "out_of_service", "tamper", "no_session")
}
CREDENTIALS: Mapping[CredentialKind, str] = {
    "badge": "操作卡或固定码",
    "code": "动态作业码",
    "session": "正在进行的作业",
    "malformed": "无法识别",
}
METHODS: Mapping[Method, str] = {"scan": "扫码", "card": "刷卡", "keypad": "键盘"}
RESULTS: Mapping[Result, str] = {
    "refused": "拒绝",
    "overridden": "临时放行",
    "warned": "提醒",
    "fault": "未能执行",
    "passed": "通过",
    "off": "未启用",
    "left_out": "不适用，未看",
}
RESOLVERS: Mapping[Resolver, str] = {
    "operator": "本人",
    "enterprise": "企业",
    "regulator": "应急管理部门",
    "training_centre": "培训机构",
    "machine_vendor": "焊机厂家",
    "gateway_operator": "系统管理员",
}
LEVELS: Mapping[OverrideLevel, str] = {
    "nobody": "不可放行",
    "supervisor": "企业负责人可放行",
    "regulator": "监管可放行",
}
PERMIT_LEVELS: Mapping[PermitLevel, str] = {"special": "特级", "grade_1": "一级", "grade_2": "二级"}
PERMIT_STATUS: Mapping[PermitStatus, str] = {"approved": "已批准", "withdrawn": "已撤回"}
ACTS: Mapping[ControlAct, str] = {
    "lock": "远程锁定",
    "out_of_service": "停用",
    "release": "解除锁定",
    "end_session": "结束作业",
    "override_asked": "申请临时放行",
    "override_approved": "批准临时放行",
    "override_ended": "结束临时放行",
}
