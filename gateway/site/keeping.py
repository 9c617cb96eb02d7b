"""The face of those who run the gateway: accounts, who has them, and giving and taking them. Auditors read them."""

from aiohttp import web

from gateway.core.accounts import ROLES, STAFF, Role
from gateway.site.face import Face, Tab
from gateway.site.routes import Page
from gateway.site.visit import Visit
from gateway.store import accounts
from gateway.store.accounts import AccountError

MAKERS: tuple[Role, ...] = ("gateway_operator",)
READERS: tuple[Role, ...] = ("gateway_operator", "auditor")
FACE = Face(MAKERS, "/accounts", "网关管理", (Tab("/accounts", "账号"),))


async def listed(visit: Visit) -> web.StreamResponse:
    return await _list(visit)


async def _list(visit: Visit, status: int = 200, **said: str) -> web.StreamResponse:
    """``said``: a problem, or a code and whose it is."""
    everybody = await visit.parts.read(accounts.everybody)
    shown = [account for account in everybody if account.role in STAFF]
    welders = len(everybody) - len(shown)
    told = {"problem": "", "code": "", "whose": "", **said}
    return visit.page("accounts/list.html", status, accounts=shown, welders=welders, roles=STAFF, **told)


async def add(visit: Visit) -> web.StreamResponse:
    """The code for the first sign-in is shown once, on the answer itself."""
    form = await visit.form()
    role = next((role for role in ROLES if role in STAFF and role == form.get("role")), None)
    if role is None:
        return await _list(visit, 422, problem=visit.text("请选择角色。"))
    login = form.get("login", "").lower()
    try:
        account, code = await visit.parts.write(
            accounts.add, role, login, form.get("name", ""), form.get("where", ""), visit.by, visit.now()
        )
    except AccountError as error:
        return await _list(visit, 422, problem=visit.pick(error.chinese, str(error)))
    return await _list(visit, code=code, whose=account.login)


async def give_code(visit: Visit) -> web.StreamResponse:
    account_id = visit.named("account_id")
    code = await visit.parts.write(accounts.give_code, account_id, visit.by, visit.now())
    account = await visit.parts.read(accounts.by_id, account_id)
    return await _list(visit, code=code, whose=account.login if account else account_id)


async def disable(visit: Visit) -> web.StreamResponse:
    account_id = visit.named("account_id")
    if account_id == visit.account.account_id:
        return await _list(visit, 422, problem=visit.text("不能停用自己正在使用的账号。"))
    await visit.parts.write(accounts.disable, account_id, visit.by, visit.now())
    return visit.go("/accounts", "disabled")


async def enable(visit: Visit) -> web.StreamResponse:
    await visit.parts.write(accounts.enable, visit.named("account_id"), visit.by, visit.now())
    return visit.go("/accounts", "enabled")


PAGES = (
    Page("GET", "/accounts", READERS, listed),
    Page("POST", "/accounts", MAKERS, add),
    Page("POST", "/accounts/{account_id}/code", MAKERS, give_code),
    Page("POST", "/accounts/{account_id}/disable", MAKERS, disable),
    Page("POST", "/accounts/{account_id}/enable", MAKERS, enable),
)
