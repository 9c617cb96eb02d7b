"""The site as a part of the gateway's web application: lets visitors in, shows pages, and says what went wrong."""

import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import aiohttp_jinja2
import jinja2
from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from gateway.clock import monotonic_ns
from gateway.core.accounts import Role
from gateway.errors import WeldGateError
from gateway.observe.events import Denied, PageAnswered, Trouble
from gateway.site import assets, filters, stream, terms
from gateway.site.exporting import EXPORTS, Exports
from gateway.site.faces import face_of
from gateway.site.guard import UNSAFE, Origin, RefusedOriginError, cookie_name, origin_of, protect, refuse_foreign
from gateway.site.live import FOLLOWER, Follower
from gateway.site.parts import Parts
from gateway.site.printing import PRINTER, Printer
from gateway.site.routes import Page
from gateway.site.texts import LANGUAGES, NAMES, Language
from gateway.site.visit import Signed, Visit
from gateway.store import accounts

LANGUAGE_COOKIE = "language"
FORM_TOKEN = "form_token"  # noqa: S105  (a field's name)
MAX_COOKIE_CHARACTERS = 128
AioHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """Serves the table of pages. ``follower`` is to run beside it, and to observe the gateway."""

    def __init__(self, parts: Parts, follower: Follower, pages: tuple[Page, ...]) -> None:
        self._parts = parts
        self._pages = pages
        self._follower = follower

    def add_to(self, app: web.Application) -> None:
        app[FOLLOWER] = self._follower
        stream.add_to(app)
        app[PRINTER] = Printer()
        app[EXPORTS] = Exports()
        environment = aiohttp_jinja2.setup(
            app,
            loader=jinja2.PackageLoader("gateway.site"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        filters.add_to(environment)
        environment.globals.update(asset=assets.url, languages=NAMES, terms=terms)
        app.router.add_get(f"{assets.ROOT}/{{digest}}/{{name:.+}}", assets.serve)
        for page in self._pages:
            app.router.add_route(page.method, page.path, self._handler(page))
        app.router.add_get("/{path:.*}", self._handler(Page("GET", "", None, _nowhere)))

    def _handler(self, page: Page) -> AioHandler:
        async def handle(request: web.Request) -> web.StreamResponse:
            origin, began = origin_of(request, self._parts.proxies), monotonic_ns()
            visit = Visit(request, self._parts, origin, _language(request))
            try:
                visit = Visit(request, self._parts, origin, visit.language, await self._signed_in(request, origin))
                response = await self._answer(page, visit)
            except Exception as error:  # noqa: BLE001  (a bug in one page must not end the gateway)
                response = self._excuse(visit, error)
            if not response.prepared:  # streams take as long as somebody watches
                protect(response, secure=origin.secure, scripts=visit.scripts)
                role = visit.account.role if visit.session else "visitor"
                self._parts.observe(PageAnswered(role, response.status, (monotonic_ns() - began) / 1e9))
            return response

        return handle

    async def _signed_in(self, request: web.Request, origin: Origin) -> Signed | None:
        cookie, now = request.cookies.get(cookie_name(origin), "")[:MAX_COOKIE_CHARACTERS], self._parts.state.wall_ms()
        session = await self._parts.read(accounts.signed_in, cookie, now) if cookie else None
        if session is None:
            return None
        if accounts.stale(session, now):
            await self._parts.write(accounts.seen, session, now)
        return Signed(session, cookie, face_of(session.account.role))

    async def _answer(self, page: Page, visit: Visit) -> web.StreamResponse:
        """INVARIANT: a page is shown to its roles alone, and a form is taken from our own pages alone."""
        if page.roles is not None and visit.session is None:
            return _to_sign_in(page.roles, visit)
        if page.roles is not None and visit.account.role not in page.roles:
            self._parts.observe(Denied("forbidden", visit.origin.address, limited=False))
            return visit.problem(
                403,
                visit.text("您的账号不能打开这个页面。"),
                visit.text("请从首页进入您自己的页面，或换一个账号登录。"),
            )
        if page.method in UNSAFE:
            refuse_foreign(visit.request, visit.origin)
            if visit.session is not None and (await visit.form()).get(FORM_TOKEN) != visit.form_token:
                raise RefusedOriginError(f"field {FORM_TOKEN}: is not this page's")
        return await page.handler(visit)

    def _excuse(self, visit: Visit, error: Exception) -> web.StreamResponse:
        match error:
            case RefusedOriginError():
                self._parts.observe(Denied("origin", visit.origin.address, limited=False))
                told = 403, "这个操作不是从本站页面发出的，没有执行。", "请回到本站页面，刷新后再试。"
            case web.HTTPNotFound():
                told = 404, "没有这个页面。", "请核对地址，或回到首页。"
            case web.HTTPException():
                told = error.status, "请求无法处理。", "请返回上一页再试。"
            case SQLAlchemyError() | WeldGateError():
                self._parts.observe(Trouble("site", str(getattr(error, "orig", error))))
                told = 503, "数据库暂时不能使用。", "请稍后再试；一直这样时，请联系管理员。"
            case _:
                self._parts.observe(Trouble("site", _where(error)))
                told = 500, "页面出错了，错误已记录。", "请稍后再试，或联系管理员。"
        status, what, remedy = told
        return visit.problem(status, visit.text(what), visit.text(remedy))


async def _nowhere(_: Visit) -> web.StreamResponse:
    raise web.HTTPNotFound


def _language(request: web.Request) -> Language:
    """The one that was chosen; Chinese first."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    return next((language for language in LANGUAGES if language == chosen), "zh")


def _to_sign_in(roles: tuple[Role, ...], visit: Visit) -> web.StreamResponse:
    path = visit.request.path_qs if visit.request.method == "GET" else "/"
    return visit.go(f"/sign-in{'' if 'welder' in roles else '/staff'}?to={quote(path, safe='')}")


def _where(error: Exception) -> str:
    """A bug by its place; its message might hold what a visitor sent."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
