"""One request of a person, and how it is answered."""

from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp_jinja2
from aiohttp import hdrs, web
from msgspec import Struct

from gateway.core.accounts import Account
from gateway.core.model import Millis
from gateway.core.reach import Reach
from gateway.core.rules import local_time
from gateway.registry.values import without_numbers
from gateway.site.face import Face
from gateway.site.guard import Origin, form_token
from gateway.site.notices import NOTICES
from gateway.site.parts import Parts
from gateway.site.texts import Language, translated
from gateway.store.accounts import SignedIn


class Signed(Struct, frozen=True):
    """Who is signed in, by which cookie, and what such people find."""

    session: SignedIn
    cookie: str
    face: Face


class Visit:
    """Who asks, in which language, from where: handlers get nothing else. ``session`` and ``face`` are None before a
    sign-in."""

    def __init__(
        self, request: web.Request, parts: Parts, origin: Origin, language: Language, signed_in: "Signed | None" = None
    ) -> None:
        self.request = request
        self.parts = parts
        self.origin = origin
        self.language = language
        self.session = signed_in.session if signed_in else None
        self.face = signed_in.face if signed_in else None
        self.form_token = form_token(signed_in.cookie) if signed_in else ""
        self.scripts = ""
        """What the Content Security Policy of this answer allows besides our own scripts."""

    @property
    def account(self) -> Account:
        """Who is signed in. Only for pages that take an account."""
        if self.session is None:
            raise AssertionError("a page without roles asked for an account")
        return self.session.account

    @property
    def reach(self) -> Reach:
        """What the account may see."""
        return self.account.reach

    @property
    def by(self) -> str:
        """Who does something, for the record: the name, and the account that was signed in."""
        return f"{self.account.name} ({self.account.login})"

    @property
    def notice(self) -> str:
        """What was just done, where the address names it."""
        return self.text(NOTICES.get(self.request.query.get("said", ""), ""))

    @property
    def address(self) -> str:
        """Where people reach the site: as it is set, else as the visitor did."""
        return self.parts.address or str(self.origin)

    @property
    def here(self) -> str:
        """The page's path, to come back to. INVARIANT: no personal number that somebody typed is repeated."""
        path = self.request.path
        return path if without_numbers(path) == path else "/"

    def now(self) -> Millis:
        return self.parts.state.wall_ms()

    def today(self) -> date:
        return local_time(self.now()).date()

    def text(self, chinese: str, **values: object) -> str:
        """A text in the visitor's language."""
        return translated(self.language, chinese, **values)

    def pick(self, chinese: str, english: str) -> str:
        """One of two texts that are kept side by side, as reasons are."""
        return chinese if self.language == "zh" else english

    def named(self, parameter: str) -> str:
        """What the path names."""
        return self.request.match_info[parameter]

    async def form(self) -> Mapping[str, str]:
        """The fields that were sent, the first of each name; files are no text and are left out."""
        fields = await self.request.post()
        return {name: value.strip() for name, value in reversed(list(fields.items())) if isinstance(value, str)}

    # --- answers ---

    def page(self, template: str, status: int = 200, **context: Any) -> web.StreamResponse:
        """A rendered page or, below ``parts/``, a piece of one."""
        body = self.rendered(template, **context)
        return web.Response(text=body, status=status, content_type="text/html", charset="utf-8")

    def rendered(self, template: str, **context: Any) -> str:
        """The text of a page or of a piece of one."""
        return aiohttp_jinja2.render_string(template, self.request, {"visit": self, **context})

    def problem(self, status: int, what: str, remedy: str) -> web.StreamResponse:
        """A page that says what is wrong and what to do, in the visitor's language."""
        return self.page("problem.html", status, what=what, remedy=remedy)

    def go(self, path: str, said: str = "") -> web.StreamResponse:
        """Show another page next (303); ``said`` names what it tells first, see ``gateway.site.notices``."""
        there = f"{path}{'&' if '?' in path else '?'}said={quote(said)}" if said else path
        return web.Response(status=303, headers={hdrs.LOCATION: there})


def local_path(path: str, otherwise: str = "/") -> str:
    """A path of this site and of no other."""
    parts = urlsplit(path)
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.netloc else otherwise
