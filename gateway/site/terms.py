"""What every face calls the same things, in Chinese: translated where it is shown. Templates have it as ``terms``."""

from collections.abc import Mapping

from gateway.core.colour import State
from gateway.core.model import CertificateStatus, Colour, Process, Resolver, Verification
from gateway.core.session import EndReason
from gateway.core.session import State as SessionState

COLOURS: Mapping[Colour, str] = {"blue": "蓝码", "yellow": "黄码", "red": "红码", "grey": "灰码"}
STANDINGS: Mapping[State, str] = {
    "in_order": "一切正常",
    "soon": "有事要办",
    "barred": "不能作业",
    "none": "没有证书记录",
}
PROCESSES: Mapping[Process, str] = {"fusion": "熔化焊接与热切割", "pressure": "压力焊", "brazing": "钎焊"}
CERTIFICATE_STATUS: Mapping[CertificateStatus, str] = {"valid": "有效", "suspended": "已暂扣", "revoked": "已吊销"}
VERIFICATION: Mapping[Verification, str] = {"verified": "已核验", "unverified": "还没核验", "counterfeit": "假证"}
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
