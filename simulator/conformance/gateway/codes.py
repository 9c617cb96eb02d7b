"""Rolling codes: each opens once. Ids GW-6."""

from simulator.conformance.cases import expect
from simulator.conformance.gateway.kit import case
from simulator.conformance.gateway.sessions import codes
from simulator.conformance.gateway.stand import Stand

CODES = "Reasons: credential_replayed"
HOOK = "--code-command with {operator} in it"


@case(
    "GW-6.1",
    "A rolling code opens once: at the same machine or another it is refused with credential_replayed",
    "动态码只能用一次：再次使用（同机或他机）以 credential_replayed 拒绝",
    CODES,
)
async def opens_once(stand: Stand) -> None:
    make_code = stand.need(stand.hooks.make_code, HOOK)
    place, other = stand.place(), stand.place()
    code = await make_code(place.badge)
    first = await stand.ask(place.machine_id, code)
    expect(first.outcome == "allow", f"allow for a fresh code of {place.badge}", codes(first))
    await stand.event(place.machine_id, "locked", first.session_id, reason="operator")
    for machine_id in (place.machine_id, other.machine_id):
        again = await stand.ask(machine_id, code)
        expect("credential_replayed" in codes(again), f"credential_replayed at {machine_id}", codes(again) or "allow")
