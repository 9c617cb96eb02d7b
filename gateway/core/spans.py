"""Spans of time that follow each other: how long something goes on that several of them permit. Pure."""

from collections.abc import Iterable


def first_run(spans: Iterable[tuple[int, int]], now: int) -> tuple[int, int] | None:
    """Beginning and end of the first unbroken run that is not over by ``now``: spans that touch or overlap are one.

    A span's end is no longer part of it; one that ends before it begins is none.

    >>> first_run([(1, 3), (3, 5), (8, 9)], 2), first_run([(1, 3), (8, 9)], 3), first_run([(1, 3)], 3)
    ((1, 5), (8, 9), None)
    """
    run: tuple[int, int] | None = None
    for begin, end in sorted(span for span in spans if span[0] < span[1] and now < span[1]):
        if run is None:
            run = begin, end
        elif begin <= run[1]:
            run = run[0], max(run[1], end)
        else:
            break
    return run
