"""Rolling codes over HTTP: given to whoever has the token, accepted by the gate."""

from gateway.core.credential import STEP_S
from tests.api.served import Answer, Served
from tests.gate.gates import NOW, decision_of


async def code(api: Served, operator_id: str = "P000123") -> Answer:
    return await api.call("POST", f"/operators/{operator_id}/code")


async def test_a_code_is_given_with_its_time_and_the_gate_takes_it_once(api: Served) -> None:
    answer = await code(api)
    assert (answer.status, answer.kind) == (200, "application/json")
    body = answer.body
    assert (body["operator_id"], body["valid_until"] - body["valid_from"]) == ("P000123", STEP_S * 1000)
    assert body["valid_from"] <= NOW < body["valid_until"]
    assert decision_of(api.gate.request(body["code"])).outcome == "allow"
    assert decision_of(api.gate.request(body["code"])).reasons == ("credential_replayed",)


async def test_within_half_a_minute_the_code_is_the_same_and_then_another(api: Served) -> None:
    codes = []
    for _ in range(3):
        codes.append((await code(api)).body["code"])
        api.gate.clock.pass_s(STEP_S / 2)
    assert codes[0] == codes[1] != codes[2]


async def test_somebody_who_is_not_registered_is_told_so(api: Served) -> None:
    answer = await code(api, "P999999")
    assert (answer.status, answer.kind, answer.body["title"]) == (404, "application/problem+json", "Not Found")
    assert "operator_id" in answer.body["detail"]
    assert "P999999" not in answer.body["detail"]
