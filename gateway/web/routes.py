"""Every route of the HTTP API in one table, from which the server and the OpenAPI document are made.

A new route is a handler, the structs of its request and answer, and a row here.
"""

from gateway.registry.push import Delivery
from gateway.web import certificates, codes, disputes, histories, pushes, registries, standings
from gateway.web.call import Route
from gateway.web.deliveries import Taken

ROOT = "/api/v1"

ROUTES: tuple[Route, ...] = (
    Route(
        "POST", "/operators/{operator_id}/code", "makeOperatorCode", "codes",
        "A person's rolling code of the present 30 s; it opens once.",
        codes.OperatorCode, codes.make, problems=("not-found",),
    ),
    Route(
        "GET", "/operators/{operator_id}", "getOperator", "registry:read",
        "A person's status, certificates and employments.",
        registries.OperatorView, registries.operator, problems=("not-found",),
    ),
    Route(
        "GET", "/operators/{operator_id}/standing", "getOperatorStanding", "registry:read",
        "A person's colour: why, until when, what to do.",
        standings.PersonStandingView, standings.person, problems=("not-found",),
    ),
    Route(
        "GET", "/operators/{operator_id}/history", "getOperatorHistory", "registry:read",
        "What the registries held about a person, by whose word and when; with `at`, what held then.",
        histories.HistoryView, histories.of_operator, query=histories.Moment, problems=("not-found", "conflict"),
    ),
    Route(
        "GET", "/enterprises/{uscc}", "getEnterprise", "registry:read",
        "A firm's status.",
        registries.EnterpriseView, registries.enterprise, problems=("not-found",),
    ),
    Route(
        "GET", "/enterprises/{uscc}/standing", "getEnterpriseStanding", "registry:read",
        "A firm's colour, and how many of its people have which.",
        standings.FirmStandingView, standings.firm, problems=("not-found",),
    ),
    Route(
        "GET", "/enterprises/{uscc}/expiring", "listExpiring", "registry:read",
        "Certificates, re-reviews and employments of a firm's people that run out soon.",
        standings.ExpiringView, standings.runs_out, query=standings.Ahead, problems=("not-found",),
    ),
    Route(
        "GET", "/enterprises/{uscc}/history", "getEnterpriseHistory", "registry:read",
        "The same about a firm, its machines and its people's employments.",
        histories.HistoryView, histories.of_enterprise, query=histories.Moment, problems=("not-found", "conflict"),
    ),
    Route(
        "GET", "/machines/{machine_id}", "getMachine", "registry:read",
        "A machine's firm, process and status, and whether somebody locked it.",
        registries.MachineView, registries.machine, problems=("not-found",),
    ),
    Route(
        "GET", "/registry", "getRegistry", "registry:read",
        "The version that decisions use, and how old each source is.",
        registries.RegistryView, registries.registry,
    ),
    Route(
        "GET", "/registry/versions", "listRegistryVersions", "registry:read",
        "What changed the registries, the latest first.",
        registries.VersionsView, registries.history, query=registries.Wanted,
    ),
    Route(
        "GET", "/registry/conflicts", "listRegistryConflicts", "registry:read",
        "Fields about which sources contradict each other, and the value that counts.",
        disputes.ConflictsView, disputes.conflicts, query=disputes.Most,
    ),
    Route(
        "GET", "/registry/holds", "listRegistryHolds", "registry:read",
        "Changes that were held because they would take the right to weld from many, the latest first.",
        disputes.HoldsView, disputes.holds,
    ),
    Route(
        "POST", "/registry/holds/{hold_id}/confirm", "confirmRegistryHold", "registry:write",
        "Let a held change through: it counts for these people, from this source, once, when it is brought in again.",
        disputes.HoldView, disputes.confirm, body=disputes.Because, problems=("not-found", "conflict"),
    ),
    Route(
        "POST", "/registry/holds/{hold_id}/reject", "rejectRegistryHold", "registry:write",
        "Say that a held change is a mistake. Brought in again it is held again.",
        disputes.HoldView, disputes.reject, body=disputes.Because, problems=("not-found", "conflict"),
    ),
    Route(
        "POST", "/certificates/check", "checkCertificate", "certificates:check",
        "Is a certificate that somebody shows the one on record? Every check goes on record.",
        certificates.CheckView, certificates.check, body=certificates.Shown, problems=("conflict",),
    ),
    Route(
        "POST", "/registry/events", "pushRegistryEvents", "signature",
        "Events of a sender: issued, revoked, hired, stopped. A 2xx means that all of it is durable and in effect.",
        Taken, pushes.push, body=Delivery,
    ),
)  # fmt: skip
