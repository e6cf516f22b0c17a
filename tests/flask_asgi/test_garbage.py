"""The garbage collector runs only when necessary."""

import gc

import pytest
from flask_asgi import tuned_garbage_collector
from flask_asgi._garbage import (
    GROWTH_BYTES,
    MemoryWatch,
    _collecting_as_memory_grows,
)

pytestmark = pytest.mark.anyio

SMALL = 2 * GROWTH_BYTES


class Process:
    """A process whose memory a test sets, and which the collector makes smaller by `garbage`."""

    def __init__(self, resident: int) -> None:
        self.resident = resident
        self.garbage = 0
        self.collections = 0

    def collect(self) -> None:
        self.collections += 1
        self.resident -= self.garbage
        self.garbage = 0

    def grow(self, number: int, *, garbage: bool) -> None:
        self.resident += number
        self.garbage += number if garbage else 0


def watched(process: Process) -> MemoryWatch:
    return MemoryWatch(lambda: process.resident, process.collect)


async def test_garbage_is_collected_before_the_process_has_grown_much() -> None:
    process = Process(SMALL)
    watch = watched(process)
    for _ in range(100):
        process.grow(GROWTH_BYTES // 4, garbage=True)
        watch.look()

        assert process.resident <= SMALL + GROWTH_BYTES

    assert process.collections == 25
    watch.stop()


async def test_growth_without_garbage_causes_few_collections() -> None:
    process = Process(SMALL)
    watch = watched(process)
    while process.resident < 64 * SMALL:
        process.grow(GROWTH_BYTES // 4, garbage=False)
        watch.look()

    assert 5 <= process.collections <= 20
    watch.stop()


async def test_freed_memory_does_not_hide_new_growth() -> None:
    process = Process(64 * SMALL)
    watch = watched(process)
    process.resident = SMALL
    watch.look()
    process.grow(GROWTH_BYTES, garbage=True)
    watch.look()

    assert process.collections == 1
    watch.stop()


async def test_collections_are_rare_and_skip_objects_of_the_start_up() -> None:
    before = gc.get_threshold()
    with tuned_garbage_collector():
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] > 10_000

    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


async def test_the_watch_of_this_process_starts_and_stops() -> None:
    with _collecting_as_memory_grows():
        pass
