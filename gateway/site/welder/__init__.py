"""The welder's face, on a phone at the machine: with gloves, in the sun, with a bad network."""

from gateway.core.accounts import Role
from gateway.site.face import Face, Tab
from gateway.site.routes import Page
from gateway.site.welder import code, install, machines, me, scan, sessions, unlock

WELDER: tuple[Role, ...] = ("welder",)
FACE = Face(WELDER, "/w", "焊工", (Tab("/w", "解锁"), Tab("/w/code", "作业码"), Tab("/w/certificates", "我的证书")))
PAGES = (
    Page("GET", "/w", WELDER, me.shown),
    Page("GET", "/w/scan", WELDER, scan.shown),
    Page("POST", "/w/find", WELDER, machines.find),
    Page("GET", "/w/m/{machine_id}", WELDER, machines.shown),
    Page("POST", "/w/m/{machine_id}/unlock", WELDER, unlock.unlock),
    Page("GET", "/w/m/{machine_id}/asks/{request_id}", WELDER, unlock.answer),
    Page("GET", "/w/sessions/{session_id}", WELDER, sessions.shown),
    Page("GET", "/w/sessions/{session_id}/live", WELDER, sessions.live),
    Page("POST", "/w/end", WELDER, sessions.end),
    Page("GET", "/w/code", WELDER, code.shown),
    Page("GET", "/w/code/now", WELDER, code.part),
    Page("GET", "/w/certificates", WELDER, me.certificates),
    Page("GET", "/w/manifest.webmanifest", None, install.manifest),
    Page("GET", "/w/worker.js", None, install.worker),
    Page("GET", "/w/offline", None, install.offline),
)
