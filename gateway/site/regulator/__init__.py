"""The regulator's console: everything in a division, from the whole down to one decision and its proof. Auditors read
it too."""

from gateway.site.face import Face, Tab
from gateway.site.regulator import (
    acts,
    colours,
    decisions,
    evidence,
    exports,
    finding,
    home,
    lists,
    live,
    machines,
    people,
    places,
    ranking,
    refusals,
    reports,
)
from gateway.site.regulator.ground import ACTORS, READERS
from gateway.site.routes import Page

TABS = (
    Tab("/r", "总览"),
    Tab("/r/divisions", "区划"),
    Tab("/r/machines", "焊机"),
    Tab("/r/colours", "人员"),
    Tab("/r/refusals", "拒绝"),
    Tab("/r/oddities", "异常"),
    Tab("/r/ranking", "排名"),
    Tab("/r/decisions", "决定"),
    Tab("/r/reports", "月报"),
)
FACE = Face(ACTORS, "/r", "监管", TABS)
AUDITOR = Face(("auditor",), "/r", "审计", (*TABS, Tab("/accounts", "账号")))
PAGES = (
    Page("GET", "/r", READERS, home.shown),
    Page("GET", "/r/now", READERS, home.figures),
    Page("GET", "/r/live", READERS, live.followed),
    Page("POST", "/r/find", READERS, finding.found),
    Page("GET", "/r/divisions", READERS, places.all_of_it),
    Page("GET", "/r/divisions/{code}", READERS, places.place),
    Page("GET", "/r/firms/{uscc}", READERS, places.one_firm),
    Page("GET", "/r/machines", READERS, lists.shown),
    Page("GET", "/r/machines/{machine_id}", READERS, machines.shown),
    Page("POST", "/r/machines/{machine_id}/lock", ACTORS, acts.lock),
    Page("POST", "/r/machines/{machine_id}/release", ACTORS, acts.release),
    Page("POST", "/r/sessions/{session_id}/end", ACTORS, acts.end_session),
    Page("GET", "/r/people/{operator_id}", READERS, people.shown),
    Page("GET", "/r/colours", READERS, colours.shown),
    Page("GET", "/r/refusals", READERS, refusals.shown),
    Page("GET", "/r/oddities", READERS, lists.oddities),
    Page("GET", "/r/ranking", READERS, ranking.shown),
    Page("GET", "/r/decisions", READERS, decisions.shown),
    Page("GET", "/r/decisions/{seq}", READERS, evidence.shown),
    Page("GET", "/r/reports", READERS, reports.listed),
    Page("GET", "/r/reports/{month}", READERS, reports.shown),
    Page("POST", "/r/reports/{month}/pdf", READERS, reports.printed),
    Page("POST", "/r/export/{what}", READERS, exports.made),
)
