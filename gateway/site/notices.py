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
}
"""In Chinese; translated like any other text."""
