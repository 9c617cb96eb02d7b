"""What a page says first after something was done, by the name in its address: never the visitor's own words."""

from collections.abc import Mapping

NOTICES: Mapping[str, str] = {
    "signed_out": "您已退出登录。",
    "others_ended": "其他设备上的登录都已结束。",
    "disabled": "账号已停用，它的登录都已结束。",
    "enabled": "账号已恢复使用。",
    "locked": "焊机已远程锁定；正在进行的作业开始上锁。",
    "unlocked_again": "已解除锁定；符合条件的人可以重新解锁。",
    "session_ending": "已要求上锁。",
    "hired": "已登记到岗。到岗日期起，可以在本单位的焊机上作业。",
    "left": "已登记离岗。最后一天过后，不能再在本单位的焊机上作业。",
    "suspended": "焊机已停用；正在作业的，一秒内开始上锁。",
    "released": "已解除停用。要作业的人请重新扫码。",
    "ending": "已下令结束作业；锁具回报之前会一直重发。",
    "grant_asked": "已申请，请另一位同事在一小时内批准。",
    "grant_approved": "已批准，现在起生效。",
    "grant_ended": "临时放行已结束。",
}
"""In Chinese; translated like any other text."""
