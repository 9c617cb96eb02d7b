"""Every route of the HTTP API in one table, from which the server and the OpenAPI document are made.

A new route is a handler, the structs of its request and answer, and a row here.
"""

from gateway.registry.push import Delivery
from gateway.web import codes, pushes, registries
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
        "GET", "/enterprises/{uscc}", "getEnterprise", "registry:read",
        "A firm's status.",
        registries.EnterpriseView, registries.enterprise, problems=("not-found",),
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
        "POST", "/registry/events", "pushRegistryEvents", "signature",
        "Events of a sender: issued, revoked, hired, stopped. A 2xx means that all of it is durable and in effect.",
        Taken, pushes.push, body=Delivery,
    ),
)  # fmt: skip
