"""The hub: every observer hears of every event, and one that fails is counted and changes nothing."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.events import Hub, Observed, Recovered, Repeated

EVENT = Repeated("HJ-0001", "decision")


def test_every_observer_hears_of_every_event_in_order() -> None:
    hub, one, other = Hub(), list[Observed](), list[Observed]()
    hub.add(one.append)
    hub.add(other.append)
    events: list[Observed] = [EVENT, Recovered("broker", "connected")]
    for event in events:
        hub(event)
    assert one == other == events
    assert hub.failures == 0


@given(
    st.integers(0, 3), st.sampled_from([ValueError, KeyError, ArithmeticError, OSError, RecursionError, MemoryError])
)
def test_invariant_an_observer_that_fails_changes_nothing_and_is_counted(place: int, kind: type[Exception]) -> None:
    def failing(_: Observed) -> None:
        raise kind("observer")

    hub, heard = Hub(), list[Observed]()
    for number in range(4):
        hub.add(failing if number == place else heard.append)
    hub(EVENT)
    hub(EVENT)
    assert heard == [EVENT] * 6
    assert hub.failures == 2
