"""Every page in one table, and the faces that people of a role find."""

from gateway.core.accounts import Role
from gateway.site import account, firm, keeping, regulator, welder
from gateway.site.face import Face, Tab
from gateway.site.routes import Page

FACES: tuple[Face, ...] = (keeping.FACE, welder.FACE, firm.FACE, regulator.FACE, regulator.AUDITOR)
PAGES: tuple[Page, ...] = (*account.PAGES, *keeping.PAGES, *welder.PAGES, *firm.PAGES, *regulator.PAGES)


_PLAIN = Face((), "/account", "", (Tab("/account", "我的账号"),))


def face_of(role: Role) -> Face:
    """A role without a face of its own has its account."""
    return next((face for face in FACES if role in face.roles), _PLAIN)
