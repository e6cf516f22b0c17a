"""Admission control: decides when a request may begin.

If an event loop starts every request at once, and each makes much work, such as twenty upstream
calls, the loop stalls: all requests make a little progress, and no response is sent. Here requests
begin only as fast as the loop can keep up. The others wait in line for a moment, and are refused if
the line is too long. So requests that have begun finish, and health checks are answered.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

# Seconds. In one turn the loop runs all callbacks that are ready. A health check needs about three
# turns: to be accepted, read and answered.
LONG_TURN = 0.01

# With fewer requests in flight than this, every request begins at once.
FEW = 16

# Seconds. A request that would wait longer in line is refused: its caller has a deadline too.
LONG_WAIT = 3.0

# Seconds over which the pace of admissions is measured.
PACE_WINDOW = 0.5

# Seconds. A request in line begins at least this often, however long the turns are: other work than
# requests may cause the long turns.
LONGEST_PAUSE = 0.1

# Refusals take time as well, and a refused client may retry at once.
REFUSALS_PER_TURN = 8


class Admission:
    """Counts the requests in flight, and keeps the line of those that wait to begin.

    Args:
        most: the largest number of requests in flight and in line together.
        clock: returns a monotonic time in seconds.
    """

    def __init__(self, most: int, clock: Callable[[], float] = monotonic) -> None:
        self.most = most
        self.in_flight = 0
        self._clock = clock
        self._line: deque[asyncio.Future[bool]] = deque()
        self._turn_began: float | None = None  # None if no turn is being timed
        self._late = False  # whether the loop's timers were late at the last tick
        self._ticks = False
        self._quota = 1  # admissions per turn
        self._admitted_at = 0.0
        self._pace: float | None = None  # admissions per second; None until measured
        self._admitted = 0
        self._window_began = 0.0

    def is_open(self) -> bool:
        """Tell whether a request may begin at once."""
        now = self._clock()
        began = self._turn_began or self._watch_turn(now)
        if self.in_flight < FEW:
            return not self._line and self.in_flight < self.most
        if not self._ticks:
            self._ticks = True
            self._tick_at(now)
        is_late = self._late or now - began >= LONG_TURN
        return not (self._line or is_late or self.in_flight >= self.most)

    @property
    def queued(self) -> int:
        """The number of requests in line."""
        return sum(not turn.done() for turn in self._line)

    def is_full(self) -> bool:
        """Tell whether no further request may stand in line."""
        return self.in_flight + len(self._line) >= self.most

    async def wait(self) -> bool:
        """Wait in line. Return whether the request may begin; if not, refuse it."""
        if self.is_full():
            return False
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        now = self._clock()
        if not self._line:
            self._window_began, self._admitted, self._pace = now, 0, None
        self._line.append(turn)
        self._watch_turn(now)
        try:
            return await turn
        except asyncio.CancelledError:  # the server stops; the request is answered first
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            return False

    def _watch_turn(self, now: float) -> float:
        """Return the time at which this turn of the loop began, or at which it was first seen."""
        if self._turn_began is None:
            self._turn_began = now
            asyncio.get_running_loop().call_soon(self._next_turn)
        return self._turn_began

    def _next_turn(self) -> None:
        now = self._clock()
        took = now - (self._turn_began or now)
        self._turn_began = None
        if not self._line:
            return
        quota = self._quota // 2 if took >= LONG_TURN else max(1, self._quota * 2)
        self._quota = min(quota, len(self._line))
        self._measure_pace(now)
        is_due = now - self._admitted_at >= LONGEST_PAUSE
        if number := self._quota or is_due:
            self._admitted_at = now
            self._settle(number, may_begin=True)
        if self._pace is not None:
            too_many = len(self._line) - int(self._pace * LONG_WAIT)
            self._settle(min(too_many, REFUSALS_PER_TURN), may_begin=False)
        if self._line:
            self._watch_turn(now)

    def _settle(self, number: int, *, may_begin: bool) -> None:
        # First come, first served. The last to come are refused first.
        take = self._line.popleft if may_begin else self._line.pop
        while number > 0 and self._line:
            turn = take()
            if not turn.done():  # its request may have been cancelled
                turn.set_result(may_begin)
                number -= 1
                self._admitted += may_begin

    def _measure_pace(self, now: float) -> None:
        elapsed = now - self._window_began
        if elapsed >= PACE_WINDOW:
            self._pace = self._admitted / elapsed
            self._window_began, self._admitted = now, 0

    def _tick_at(self, now: float) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(LONG_TURN, self._tick, now + LONG_TURN)

    def _tick(self, due: float) -> None:
        now = self._clock()
        self._late = now - due >= LONG_TURN
        self._ticks = self.in_flight >= FEW
        if self._ticks:
            self._tick_at(now)
        else:
            self._late = False
