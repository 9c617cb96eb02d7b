"""Signing in and out, the first sign-in with a code, and what everybody may do with their own account."""

from collections.abc import Sequence

from aiohttp import web

from gateway.core.accounts import ROLES, Account, lifetime, weak_password, weak_pin
from gateway.observe.events import Denied
from gateway.registry import values
from gateway.registry.values import Unreadable, half_width
from gateway.site import passwords
from gateway.site.guard import cookie_name
from gateway.site.routes import Page
from gateway.site.texts import LANGUAGES
from gateway.site.visit import Visit, local_path
from gateway.store import accounts
from gateway.web.access import Failures

LANGUAGE_LASTS_S = 365 * 86_400
_failures = Failures()


async def start(visit: Visit) -> web.StreamResponse:
    """``/``: everybody's own face."""
    return visit.go(visit.face.home if visit.face else "/sign-in")


# --- signing in -------------------------------------------------------------------------------------------------


async def sign_in_form(visit: Visit) -> web.StreamResponse:
    """Of welders, by telephone number and PIN."""
    return _form(visit, "account/sign_in.html")


async def staff_form(visit: Visit) -> web.StreamResponse:
    """Of firms and authorities, by name and password."""
    return _form(visit, "account/sign_in_staff.html")


async def sign_in(visit: Visit) -> web.StreamResponse:
    form = await visit.form()
    return await _sign_in(
        visit, await _by_phone(visit, form.get("phone", "")), form.get("pin", ""), "account/sign_in.html"
    )


async def sign_in_staff(visit: Visit) -> web.StreamResponse:
    form = await visit.form()
    found = await _by_login(visit, form.get("login", ""))
    return await _sign_in(visit, found, form.get("password", ""), "account/sign_in_staff.html")


async def _sign_in(visit: Visit, found: Sequence[Account], secret: str, again: str) -> web.StreamResponse:
    """INVARIANT: whether an account exists, waits or is disabled is told to nobody who has not its secret."""
    for account in found:
        if await _is_secret(visit, account, secret):
            return await enter(visit, account, (await visit.form()).get("to", ""))
    if not found:
        await passwords.fits(None, secret)
    return _refused(visit, again)


async def _is_secret(visit: Visit, account: Account, secret: str) -> bool:
    """A wrong one counts; while the account has to wait, none is looked at."""
    now = visit.now()
    if account.disabled_at is not None or account.secret is None or now < account.waits_until():
        await passwords.fits(None, secret)
        return False
    if await passwords.fits(account.secret, secret):
        return True
    await visit.parts.write(accounts.failed, account, visit.origin.address, now)
    return False


async def enter(visit: Visit, account: Account, to: str) -> web.StreamResponse:
    """Open a session, and lead on to a path of this site."""
    browser = visit.request.headers.get("User-Agent", "")
    token = await visit.parts.write(accounts.sign_in, account, visit.origin.address, browser, visit.now())
    response = visit.go(local_path(to))
    response.set_cookie(
        cookie_name(visit.origin),
        token,
        max_age=lifetime(account.role).whole_ms // 1000,
        secure=visit.origin.secure,
        httponly=True,
        samesite="Lax",
    )
    return response


def _refused(visit: Visit, template: str) -> web.StreamResponse:
    limited = _failures.too_many(visit.origin.address) is not None
    visit.parts.observe(Denied("sign_in", visit.origin.address, limited=limited))
    return _form(visit, template, 422, wrong=True)


def _form(visit: Visit, template: str, status: int = 200, **context: object) -> web.StreamResponse:
    there = local_path(visit.request.query.get("to", "/"))
    return visit.page(template, status, **{"to": there, "wrong": False, "problem": "", **context})


async def _by_phone(visit: Visit, typed: str) -> Sequence[Account]:
    try:
        number = values.phone(half_width(typed).replace("-", "").replace(" ", ""))
    except Unreadable:
        return ()
    return await visit.parts.read(accounts.by_phone, visit.parts.vault.index(number))


async def _by_login(visit: Visit, typed: str) -> Sequence[Account]:
    account = await visit.parts.read(accounts.by_login, typed.lower())
    return () if account is None else (account,)


# --- the first time ---------------------------------------------------------------------------------------------


async def first_form(visit: Visit) -> web.StreamResponse:
    return _form(visit, "account/first.html")


async def first_staff_form(visit: Visit) -> web.StreamResponse:
    return _form(visit, "account/first_staff.html")


async def first(visit: Visit) -> web.StreamResponse:
    """A welder's: telephone number, code from the firm, a PIN of one's own."""
    form, template = await visit.form(), "account/first.html"
    pin = form.get("pin", "")
    if pin != form.get("again", ""):
        return _form(visit, template, 422, problem=visit.text("两次输入的 PIN 不一样，请重新输入。"))
    if weak_pin(pin):
        problem = visit.text("PIN 要六位数字，不能是同一个数字，也不能是连续数字（如 123456）。")
        return _form(visit, template, 422, problem=problem)
    return await _first(visit, await _by_phone(visit, form.get("phone", "")), pin, template)


async def first_staff(visit: Visit) -> web.StreamResponse:
    """Of a firm or an authority: name, code, a password of one's own."""
    form, template = await visit.form(), "account/first_staff.html"
    password = form.get("password", "")
    if password != form.get("again", ""):
        return _form(visit, template, 422, problem=visit.text("两次输入的密码不一样，请重新输入。"))
    if weak_password(password, form.get("login", "")):
        return _form(visit, template, 422, problem=visit.text("密码至少 12 个字符，不能太简单，也不能包含用户名。"))
    return await _first(visit, await _by_login(visit, form.get("login", "")), password, template)


async def _first(visit: Visit, found: Sequence[Account], secret: str, template: str) -> web.StreamResponse:
    code, now = (await visit.form()).get("code", ""), visit.now()
    for account in found:
        if account.disabled_at is not None or now < account.waits_until():
            continue
        if accounts.code_fits(account, code, now):
            await visit.parts.write(accounts.set_secret, account, await passwords.hashed(secret), now)
            return await enter(visit, account, (await visit.form()).get("to", ""))
        await visit.parts.write(accounts.failed, account, visit.origin.address, now)
    return _refused(visit, template)


# --- one's own account ------------------------------------------------------------------------------------------


async def own(visit: Visit) -> web.StreamResponse:
    sessions = await visit.parts.read(accounts.sessions_of, visit.account, visit.now())
    return visit.page("account/own.html", sessions=sessions, problem="")


async def change_secret(visit: Visit) -> web.StreamResponse:
    """The old one, and a new one twice. Every session ends, this one too."""
    form, account = await visit.form(), visit.account
    problem = _unusable(visit, form.get("new", ""), form.get("again", ""))
    if not problem and not await _is_secret(visit, account, form.get("old", "")):
        problem = visit.text("现在用的密码不对。")
    if problem:
        sessions = await visit.parts.read(accounts.sessions_of, account, visit.now())
        return visit.page("account/own.html", 422, sessions=sessions, problem=problem)
    await visit.parts.write(accounts.set_secret, account, await passwords.hashed(form["new"]), visit.now())
    return await enter(visit, account, (await visit.form()).get("to", ""))


def _unusable(visit: Visit, secret: str, again: str) -> str:
    if secret != again:
        return visit.text("两次输入的不一样，请重新输入。")
    if visit.account.role == "welder":
        weak = weak_pin(secret)
        return visit.text("PIN 要六位数字，不能是同一个数字，也不能是连续数字（如 123456）。") if weak else ""
    weak = weak_password(secret, visit.account.login)
    return visit.text("密码至少 12 个字符，不能太简单，也不能包含用户名。") if weak else ""


async def end_others(visit: Visit) -> web.StreamResponse:
    if visit.session is not None:
        await visit.parts.write(accounts.end_other_sessions, visit.session, visit.now())
    return visit.go("/account", "others_ended")


async def sign_out(visit: Visit) -> web.StreamResponse:
    if visit.session is not None:
        await visit.parts.write(accounts.sign_out, visit.session, visit.now())
    response = visit.go("/sign-in", "signed_out")
    response.del_cookie(cookie_name(visit.origin), secure=visit.origin.secure, httponly=True, samesite="Lax")
    return response


async def choose_language(visit: Visit) -> web.StreamResponse:
    """A cookie and nothing else; back to where it was chosen."""
    language = visit.named("language")
    if language not in LANGUAGES:
        raise web.HTTPNotFound
    response = visit.go(local_path(visit.request.query.get("to", "/")))
    response.set_cookie("language", language, max_age=LANGUAGE_LASTS_S, secure=visit.origin.secure, samesite="Lax")
    return response


PAGES = (
    Page("GET", "/", None, start),
    Page("GET", "/language/{language}", None, choose_language),
    Page("GET", "/sign-in", None, sign_in_form),
    Page("POST", "/sign-in", None, sign_in),
    Page("GET", "/sign-in/staff", None, staff_form),
    Page("POST", "/sign-in/staff", None, sign_in_staff),
    Page("GET", "/first-use", None, first_form),
    Page("POST", "/first-use", None, first),
    Page("GET", "/first-use/staff", None, first_staff_form),
    Page("POST", "/first-use/staff", None, first_staff),
    Page("GET", "/account", ROLES, own),
    Page("POST", "/account/secret", ROLES, change_secret),
    Page("POST", "/account/end-others", ROLES, end_others),
    Page("POST", "/sign-out", ROLES, sign_out),
)
