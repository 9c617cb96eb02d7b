"""The firm's portal: its people, machines and sessions, who may weld what today and why not, and what it may order."""

from gateway.core.accounts import Role
from gateway.site.face import Face, Tab
from gateway.site.firm import employment, grants, labels, machine, machines, people, person, refusals, today
from gateway.site.routes import Page

FIRM: tuple[Role, ...] = ("firm",)
FACE = Face(
    FIRM,
    "/f",
    "企业",
    (
        Tab("/f", "今日"),
        Tab("/f/people", "人员"),
        Tab("/f/machines", "焊机"),
        Tab("/f/grants", "临时放行"),
        Tab("/f/refusals", "拒绝记录"),
        Tab("/f/labels", "焊机标签"),
    ),
)
PAGES = (
    Page("GET", "/f", FIRM, today.shown),
    Page("GET", "/f/people", FIRM, people.shown),
    Page("GET", "/f/hire", FIRM, employment.form),
    Page("POST", "/f/hire", FIRM, employment.hire),
    Page("GET", "/f/people/{operator_id}", FIRM, person.shown),
    Page("POST", "/f/people/{operator_id}/leave", FIRM, employment.leave),
    Page("POST", "/f/people/{operator_id}/code", FIRM, person.give_code),
    Page("POST", "/f/people/{operator_id}/disable", FIRM, person.disable),
    Page("POST", "/f/people/{operator_id}/enable", FIRM, person.enable),
    Page("GET", "/f/machines", FIRM, machines.shown),
    Page("GET", "/f/machines/{machine_id}", FIRM, machine.shown),
    Page("POST", "/f/machines/{machine_id}/suspend", FIRM, machine.suspend),
    Page("POST", "/f/machines/{machine_id}/release", FIRM, machine.release),
    Page("POST", "/f/machines/{machine_id}/end", FIRM, machine.end),
    Page("GET", "/f/grants", FIRM, grants.shown),
    Page("POST", "/f/grants", FIRM, grants.ask),
    Page("POST", "/f/grants/{override_id}/approve", FIRM, grants.approve),
    Page("POST", "/f/grants/{override_id}/end", FIRM, grants.end),
    Page("GET", "/f/refusals", FIRM, refusals.shown),
    Page("GET", "/f/labels", FIRM, labels.shown),
    Page("POST", "/f/labels", FIRM, labels.printed),
)
