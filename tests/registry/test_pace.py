"""Breaker, rate limit and waits by a clock that the test moves."""

from random import Random

import pytest

from gateway.registry.pace import LONGEST_BACKOFF_S, TABLE, CircuitBreaker, TokenBucket, backoff_s, retry_after_s


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(failures=3, open_s=30, clock=clock)


def _fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        assert breaker.admit()
        breaker.failed()


def test_fewer_failures_than_the_limit_change_nothing(breaker: CircuitBreaker) -> None:
    _fail(breaker, 2)
    breaker.succeeded()
    _fail(breaker, 2)
    assert breaker.state == "closed"


def test_the_limit_opens_and_nothing_is_admitted_until_the_time_is_over(breaker: CircuitBreaker, clock: Clock) -> None:
    _fail(breaker, 3)
    assert (breaker.state, breaker.admit(), breaker.opens_in()) == ("open", False, 30)
    clock.now += 29.9
    assert not breaker.admit()


def test_then_one_request_may_try(breaker: CircuitBreaker, clock: Clock) -> None:
    _fail(breaker, 3)
    clock.now += 30
    assert breaker.admit()
    assert (breaker.state, breaker.admit()) == ("half_open", False)


def test_whose_success_closes(breaker: CircuitBreaker, clock: Clock) -> None:
    _fail(breaker, 3)
    clock.now += 30
    breaker.admit()
    breaker.succeeded()
    assert breaker.state == "closed"
    _fail(breaker, 2)
    assert breaker.admit()


def test_whose_failure_opens_for_as_long_again(breaker: CircuitBreaker, clock: Clock) -> None:
    _fail(breaker, 3)
    clock.now += 30
    breaker.admit()
    breaker.failed()
    assert (breaker.state, breaker.opens_in()) == ("open", 30)


def test_a_late_answer_does_not_close_an_open_breaker(breaker: CircuitBreaker) -> None:
    breaker.admit()
    _fail(breaker, 3)
    breaker.succeeded()
    assert breaker.state == "open"


def test_each_arm_of_the_table_has_a_sentence() -> None:
    assert {state for state, _ in TABLE} == {"closed", "open", "half_open"}
    assert all(why.endswith(".") for _, why in TABLE.values())


def test_a_second_s_worth_goes_at_once_and_the_rest_by_the_rate(clock: Clock) -> None:
    bucket = TokenBucket(rate=2, clock=clock)
    assert [bucket.take() for _ in range(4)] == [0, 0, 0.5, 1.0]
    clock.now += 10
    assert [bucket.take() for _ in range(3)] == [0, 0, 0.5]


def test_who_cannot_wait_gets_a_token_or_none(clock: Clock) -> None:
    bucket = TokenBucket(rate=0.5, clock=clock)
    assert [bucket.try_take(), bucket.try_take()] == [True, False]
    clock.now += 2
    assert bucket.try_take()


def test_waits_double_up_to_a_limit_and_leave_half_to_chance() -> None:
    waits = [backoff_s(tries, Random(1)) for tries in range(1, 12)]
    assert all(0.5 * full <= wait <= full for wait, full in zip(waits, (0.5, 1, 2, 4, 8, 16), strict=False))
    assert max(waits) <= LONGEST_BACKOFF_S
    assert len({backoff_s(3, Random(seed)) for seed in range(9)}) == 9


@pytest.mark.parametrize("header", ["", "soon", "-1", "Thu, 99 Jan 1970 00:00:00 GMT", None])
def test_a_retry_after_that_says_nothing_is_none(header: str | None) -> None:
    assert retry_after_s(header, 0) is None


def test_a_retry_after_in_the_past_is_now() -> None:
    assert retry_after_s("Thu, 01 Jan 1970 00:00:00 GMT", 5) == 0
