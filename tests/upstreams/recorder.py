"""An observer that keeps its events, and a trace that keeps its attempts."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from upstreams import Attempt, Observer

EVENTS = sorted(name for name in vars(Observer) if not name.startswith("_"))

# A value in the caller's context, like the current span.
span: ContextVar[str] = ContextVar("span", default="none")


class Recorder(Observer):
    """Keeps every event with its facts, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def count(self, event: str) -> int:
        """Return how often that event occurred."""
        return self.counts[event]

    @property
    def counts(self) -> Counter[str]:
        """How often each event occurred."""
        return Counter(event for event, *_ in self.events)

    def facts(self, event: str) -> list[tuple[Any, ...]]:
        """Return the facts of each event of that name, without the upstream and the seconds."""
        return [
            tuple(fact for fact in facts if not isinstance(fact, float))
            for name, _, *facts in self.events
            if name == event
        ]

    def errors(self, event: str) -> list[str | None]:
        """Return the error of each end of a call or an attempt."""
        return [error for _, error in self.facts(event)]


def _recorded(event: str) -> Callable[..., None]:
    def note(self: Recorder, *facts: Any) -> None:  # noqa: ANN401 - of any type
        self.events.append((event, *facts))

    return note


for _event in EVENTS:
    setattr(Recorder, _event, _recorded(_event))


class Traced:
    """The blocks of attempts: each is a span below the current span."""

    def __init__(self) -> None:
        self.begun: list[Attempt] = []
        self.parents: list[str] = []
        self.ended: list[Attempt] = []

    @contextmanager
    def __call__(self, attempt: Attempt) -> Iterator[None]:  # noqa: D102
        self.begun.append(attempt)
        self.parents.append(span.get())
        token = span.set(f"attempt {len(self.begun)}")
        attempt.headers["traceparent"] = span.get()
        try:
            yield
        finally:
            assert span.get() == attempt.headers["traceparent"]
            span.reset(token)
            self.ended.append(attempt)
