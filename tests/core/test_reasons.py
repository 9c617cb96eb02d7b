"""The reason table: what a welder reads, whom it sends him to, and that codes only ever are added."""

import pytest

from gateway.core.reasons import REASONS, Reason

PUBLISHED = {
    # code: (first resolver and others, who on site may override)
    "request_malformed": ("machine_vendor", "nobody"),
    "request_stale": ("machine_vendor", "nobody"),
    "request_retained": ("machine_vendor", "nobody"),
    "credential_unknown": ("operator", "nobody"),
    "credential_malformed": ("operator", "nobody"),
    "credential_expired": ("operator", "nobody"),
    "credential_replayed": ("operator", "nobody"),
    "machine_unknown": ("enterprise regulator", "nobody"),
    "machine_suspended": ("enterprise regulator", "nobody"),
    "machine_decommissioned": ("enterprise regulator", "nobody"),
    "chip_mismatch": ("enterprise regulator", "nobody"),
    "machine_out_of_service": ("enterprise regulator", "nobody"),
    "machine_offline": ("enterprise regulator", "nobody"),
    "machine_without_clock": ("machine_vendor", "nobody"),
    "enterprise_unknown": ("regulator", "nobody"),
    "enterprise_production_suspended": ("regulator", "nobody"),
    "enterprise_licence_suspended": ("regulator", "nobody"),
    "enterprise_closed": ("regulator", "nobody"),
    "operator_unknown": ("regulator", "nobody"),
    "operator_blocked": ("regulator", "nobody"),
    "operator_age": ("regulator", "nobody"),
    "operator_not_employed": ("enterprise", "supervisor"),
    "employment_ended": ("enterprise", "supervisor"),
    "certificate_missing": ("training_centre regulator", "nobody"),
    "certificate_not_yet_valid": ("training_centre regulator", "nobody"),
    "certificate_expired": ("training_centre regulator", "nobody"),
    "certificate_review_overdue": ("training_centre regulator", "nobody"),
    "certificate_suspended": ("training_centre regulator", "nobody"),
    "certificate_revoked": ("training_centre regulator", "nobody"),
    "certificate_counterfeit": ("training_centre regulator", "nobody"),
    "certificate_unverified": ("regulator", "regulator"),
    "certificate_wrong_item": ("training_centre", "nobody"),
    "operator_in_session": ("operator", "supervisor"),
    "machine_in_session": ("operator", "supervisor"),
    "machine_unlocked": ("operator", "nobody"),
    "permit_missing": ("enterprise", "supervisor"),
    "permit_expired": ("enterprise", "supervisor"),
    "outside_permitted_hours": ("enterprise", "supervisor"),
    "registry_stale": ("gateway_operator", "nobody"),
    "overloaded": ("gateway_operator", "nobody"),
    "internal_error": ("gateway_operator", "nobody"),
}
"""Append-only: a line here is never changed or taken away."""


def test_every_published_code_is_there_and_no_other() -> None:
    assert set(REASONS) == set(PUBLISHED)


@pytest.mark.parametrize("code", PUBLISHED)
def test_a_code_says_who_resolves_it_and_who_may_override_it(code: str) -> None:
    reason = REASONS[code]
    assert (" ".join(reason.resolvers), reason.override) == PUBLISHED[code]


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS)
def test_a_welder_reads_what_is_wrong_and_what_to_do_in_both_languages(reason: Reason) -> None:
    for text in (reason.message_zh, reason.remedy_zh):
        assert text.endswith("。")
        assert not text.isascii()
    for text in (reason.message_en, reason.remedy_en):
        assert text.endswith(".")
        assert text.isascii()


@pytest.mark.parametrize("code", ["certificate_missing", "certificate_expired"])
def test_a_missing_or_expired_certificate_cites_the_law(code: str) -> None:
    law = REASONS[code].law or ""
    assert "《安全生产法》第三十条" in law
    assert "第九十七条第（七）项" in law
    assert "《消防法》第二十一条" in law
