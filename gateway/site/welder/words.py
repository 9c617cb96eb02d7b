"""What a welder reads, in Chinese: translated where it is shown."""

from collections.abc import Mapping

from gateway.core.session import EndReason

UNANSWERED: Mapping[str, str] = {
    "stopping": "系统正在重启，这次没有解锁。请过半分钟再按一次。",
    "busy": "现在排队的人太多，这次没有解锁。请过几秒再按一次。",
    "late": "还没有得到回答。请看焊机：没有解锁的话，再按一次。",
    "database": "系统暂时不能记录，所以不能解锁。请过一会儿再按一次；一直这样时，请告诉单位安全管理人员。",
}
"""Why there is no answer, and what to do; by the word of ``gateway.errors.Unanswered``."""
ENDS: Mapping[EndReason, str] = {
    "operator": "您在焊机上结束了作业。",
    "idle": "太久没有焊接，自动上锁。再用时请重新解锁。",
    "lease_over": "这次许可的时间到了。再用时请重新解锁。",
    "revoked": "您的资格或企业的登记有变化，不能再作业。请看“我的证书”。",
    "remote": "已按要求结束作业。",
    "out_of_service": "这台焊机已停用。请联系单位安全管理人员。",
    "tamper": "锁具外壳被打开，已上锁。请联系单位安全管理人员。",
    "no_session": "锁具和系统的记录不一致，已上锁。请重新解锁。",
    "replaced": "已在这台或另一台焊机上重新解锁。",
    "offline_too_long": "锁具太久没有联系上，按时间已上锁。请检查锁具的电源和信号。",
    "power": "锁具断过电。请重新解锁。",
    "unused": "锁具没有回答，这次许可没有用上。请再解锁一次，或直接在焊机上扫码。",
    "grant_rejected": "锁具没有接受这次许可。请再解锁一次，或直接在焊机上扫码。",
    "locked": "锁具已自行上锁。再用时请重新解锁。",
}
