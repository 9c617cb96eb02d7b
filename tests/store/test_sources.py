"""How sources stand: a failing one gets older, and only a whole pass confirms."""

from sqlalchemy import Connection

from gateway.store.sources import (
    LONGEST_PROBLEM,
    SourceState,
    confirmed,
    failed,
    keep_source,
    source_ages,
    source_state,
    source_states,
)

AT = 1_790_000_000_000


def test_a_source_that_was_never_asked_has_nothing_but_its_name(connection: Connection) -> None:
    assert source_state(connection, "province") == SourceState("province")
    assert SourceState("province").age_s(AT) is None


def test_a_pass_that_fails_leaves_the_age_and_tells_since_when(connection: Connection) -> None:
    whole = confirmed(SourceState("province"), AT, '{"of":"a"}')
    once = failed(whole, AT + 10_000, "timeout: no answer", whole.position)
    twice = failed(once, AT + 20_000, "status: 500", '{"of":"b"}')
    assert twice == SourceState("province", AT + 20_000, AT, AT + 10_000, "status: 500", '{"of":"b"}')
    assert twice.age_s(AT + 20_000) == 20
    assert confirmed(twice, AT + 30_000, "{}") == SourceState("province", AT + 30_000, AT + 30_000, None, None, "{}")


def test_what_was_kept_is_read_again(connection: Connection) -> None:
    state = failed(SourceState("province"), AT, "x" * 1000, "{}")
    assert len(state.problem or "") == LONGEST_PROBLEM
    for kept in (SourceState("city", AT, AT), state, confirmed(state, AT + 1, '{"of":"a"}')):
        keep_source(connection, kept)
        assert source_state(connection, kept.source) == kept
    assert list(source_states(connection)) == ["city", "province"]


def test_ages_are_known_of_whoever_was_asked(connection: Connection) -> None:
    keep_source(connection, SourceState("province", AT, AT - 5))
    keep_source(connection, SourceState("city", AT))
    assert source_ages(connection) == {"province": AT - 5, "city": None}


def test_a_clock_that_was_set_back_makes_nothing_younger_than_now() -> None:
    assert SourceState("province", AT, AT).age_s(AT - 1000) == 0
