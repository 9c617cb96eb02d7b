"""What the console calls things, in Chinese: translated where it is shown."""

from collections.abc import Mapping

from gateway.core.colour import explained as explained
from gateway.core.genuine import masked_name as masked_name
from gateway.core.model import (
    AskedBy,
    ControlAct,
    CredentialKind,
    EnterpriseStatus,
    MachineStatus,
    OperatorStatus,
    OverrideLevel,
    PermitLevel,
    PermitStatus,
)
from gateway.core.trace import Result
from gateway.store.figures.machines import MachineState

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
CREDENTIALS: Mapping[CredentialKind, str] = {
    "badge": "操作卡或固定码",
    "code": "动态作业码",
    "account": "手机登录账号",
    "session": "正在进行的作业",
    "malformed": "无法识别",
}
METHODS: Mapping[AskedBy, str] = {"scan": "扫码", "card": "刷卡", "keypad": "键盘", "phone": "手机"}
RESULTS: Mapping[Result, str] = {
    "refused": "拒绝",
    "overridden": "临时放行",
    "warned": "提醒",
    "fault": "未能执行",
    "passed": "通过",
    "off": "未启用",
    "left_out": "不适用，未看",
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
