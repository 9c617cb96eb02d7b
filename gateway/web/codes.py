"""Rolling codes for the page on a welder's phone."""

from msgspec import Struct

from gateway.core.credential import STEP_S, make_code, step_at
from gateway.core.model import Millis
from gateway.web.call import Call, Services
from gateway.web.problems import ApiError


class OperatorCode(Struct, frozen=True):
    """An operator's rolling code; it can be shown once. Times are Unix milliseconds."""

    operator_id: str
    code: str
    valid_from: Millis
    valid_until: Millis


def operator_code(key: bytes, operator_id: str, now: Millis) -> OperatorCode:
    """The code of the present step. It is taken one step longer than ``valid_until`` says."""
    step = step_at(now)
    begins = step * STEP_S * 1000
    return OperatorCode(operator_id, make_code(key, operator_id, step), begins, begins + STEP_S * 1000)


async def make(services: Services, call: Call) -> OperatorCode:
    operator_id = call.named("operator_id")
    if operator_id not in services.state.snapshot.operators:
        raise ApiError("not-found", "operator_id: nobody of this number is registered")
    return operator_code(services.code_keys[0], operator_id, services.state.wall_ms())
