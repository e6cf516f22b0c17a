"""Runs synchronous code that may wait for coroutines: on the event loop, or in a worker thread.

Flask's dispatch is synchronous, yet somewhere inside it an ``async def`` view has to be awaited.
On the loop a greenlet makes that possible: a call that can be paused in the middle. It hands the
future that it waits for to the loop and is resumed with the outcome. A worker thread sends the
coroutine to the loop and waits. Either way the coroutine runs on the server's one loop, and
`block_on` is how synchronous code waits for it.
"""

import asyncio
import contextlib
import contextvars
import functools
import queue
import threading
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from greenlet import getcurrent, greenlet

P = ParamSpec("P")
T = TypeVar("T")

# A new greenlet maps 16 KiB for its frames (CPython 3.11 and later), so greenlets are kept for the
# next request. Beyond this many, which only a burst needs, they are dropped.
MAX_IDLE_GREENLETS = 1000


class _Outcome:
    """What a call returned or raised, until it is taken."""

    returned: Any = None
    raised: BaseException | None = None

    def take(self) -> Any:  # noqa: ANN401 - whatever the call returned
        returned, raised = self.returned, self.raised
        self.returned = self.raised = None
        if raised is None:
            return returned
        try:
            raise raised
        finally:
            # An error's traceback has this frame. A variable here that holds the error makes a
            # cycle, which only the garbage collector could free.
            del raised


class _PausableCall(_Outcome, greenlet):
    """A greenlet that runs one call after another and can be paused in the middle of each."""

    finished = True

    def run(self, call: Callable[[], Any]) -> None:
        while True:
            try:
                self.returned = call()
            except BaseException as error:  # noqa: BLE001 - `run_on_loop` raises it in its caller
                self.raised = error
            del call  # an idle greenlet must not keep the last request alive
            self.finished = True
            call = self.pause()

    def pause(self, value: object = None) -> Any:  # noqa: ANN401 - what it is resumed with
        assert self.parent is not None  # noqa: S101 - only the main greenlet has none
        return self.parent.switch(value)

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        # As a task does it, except that what the coroutine waits for goes to `run_on_loop` in the
        # parent, which yields it to the real task.
        resume: Callable[[Any], Any] = coroutine.send
        value: Any = None
        try:
            while True:
                future = resume(value)
                try:
                    value, resume = self.pause(future), coroutine.send
                except BaseException as error:  # noqa: BLE001 - belongs where the coroutine waits
                    value, resume = error, coroutine.throw
        except StopIteration as stop:
            return cast("T", stop.value)
        finally:
            del value  # a cycle, as in `_Outcome`


class _ThreadState(threading.local):
    """What is known of the current thread: its idle greenlets, and the loop that it works for."""

    server_loop: asyncio.AbstractEventLoop | None = None

    def __init__(self) -> None:
        # A greenlet can only run in the thread that made it.
        self.idle: list[_PausableCall] = []


_thread = _ThreadState()


class Observer(Protocol):
    """What is told about a call on the loop, before the call itself goes on."""

    def on_wait(self) -> None:
        """The call is about to wait."""

    def on_cancel(self) -> None:
        """The wait was cancelled, or what it waited for."""


class _Nobody:
    def on_wait(self) -> None: ...

    def on_cancel(self) -> None: ...


@types.coroutine
def run_on_loop(
    call: Callable[[], T], context: contextvars.Context, observer: Observer
) -> Generator[Any, Any, T]:
    """Return what ``call`` returns; `block_on` inside it pauses it and lets the loop go on.

    It runs in ``context``.

    Raises:
        BaseException: what ``call`` raises. A cancellation is raised where it waits.
    """
    idle = _thread.idle
    pausable = idle.pop() if idle else _PausableCall()
    # A paused greenlet goes on in its parent: the one that drives it now, not the one that made it.
    if pausable.parent is not (driver := getcurrent()):
        pausable.parent = driver
    pausable.gr_context = context
    pausable.finished = False
    future = pausable.switch(call)
    while not pausable.finished:
        observer.on_wait()
        try:
            value = yield future
        except asyncio.CancelledError as error:
            observer.on_cancel()
            future = pausable.throw(error)
        except BaseException as error:  # noqa: BLE001 - belongs inside the call
            future = pausable.throw(error)
        else:
            future = pausable.switch(value)
    pausable.gr_context = None
    if len(idle) < MAX_IDLE_GREENLETS:
        idle.append(pausable)
    return cast("T", pausable.take())


def is_on_loop() -> bool:
    """Tell whether this code runs inside `run_on_loop`, where blocking would stop the server."""
    return isinstance(getcurrent(), _PausableCall)


def is_cancelled() -> bool:
    """Tell whether the request that this code, on the loop, works for is being cancelled."""
    task = asyncio.current_task() if is_on_loop() else None
    return task is not None and task.cancelling() > 0


def waiter() -> Callable[[Coroutine[Any, Any, Any]], Any] | None:
    """Return what waits here for a coroutine, as `block_on` does; None where no server runs."""
    current = getcurrent()
    if isinstance(current, _PausableCall):
        return current.wait_for
    if _thread.server_loop is not None:
        return functools.partial(_send_to_loop, _thread.server_loop)
    return None


def block_on(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what ``coroutine`` returns, having awaited it on the server's event loop.

    Raises:
        RuntimeError: the code does not run in a request's own call, but, for example, in a task.
        BaseException: what the coroutine raises.
    """
    if (wait := waiter()) is not None:
        return cast("T", wait(coroutine))
    coroutine.close()
    message = "only the code of a view can wait for the server, not a task or thread that it starts"
    raise RuntimeError(message)


async def contained(coroutine: Awaitable[T]) -> T:
    """Return what ``coroutine`` returns; for every task that is not the server's own.

    asyncio lets these two out of a task and out of the loop's ``run_forever``: one ``sys.exit()``
    in a view would end the server.

    Raises:
        RuntimeError: the coroutine raised ``SystemExit`` or ``KeyboardInterrupt``.
        BaseException: anything else that it raises.
    """
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        message = f"{error!r} would have ended the server"
        raise RuntimeError(message) from error


def _send_to_loop(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    context = contextvars.copy_context()

    async def run() -> T:
        # As an async view runs: synchronous code that it calls may wait for the loop as well.
        wait = functools.partial(block_on, coroutine)
        return await run_on_loop(wait, context, _Nobody())

    try:
        return asyncio.run_coroutine_threadsafe(contained(run()), loop).result()
    finally:
        # The coroutine ran in a copy of this thread's context. What it set there must be visible
        # here, as it is after an `await`.
        for variable, value in context.items():
            if variable.get(_UNSET) is not value:
                variable.set(value)


_UNSET: Any = object()


class _ThreadOutcome(_Outcome, asyncio.Future[None]):
    """What became of a call in a thread, which no cancellation can take back."""

    def settle(self, returned: object, raised: BaseException | None) -> None:
        if not self.done():
            self.returned, self.raised = returned, raised
            self.set_result(None)

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401, ARG002 - asyncio's signature
        # A task whose future refuses is cancelled as soon as that future is done.
        return False

    def abandon(self) -> None:
        super().cancel()


class ThreadPool:
    """Runs calls in at most ``size`` threads, which are started when they are needed.

    It is full when ``max_waiting`` more calls wait for a thread; whoever calls should ask first.

    A call that waits for its client (`park`) gives its place to another call. Up to ``size`` calls
    can be parked, so there are never more than twice as many threads.

    The threads are daemons: a call that never ends must not keep a server from stopping.
    """

    def __init__(self, size: int, max_waiting: int) -> None:
        self.size = size
        self.max_waiting = max_waiting
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._outcomes: set[_ThreadOutcome] = set()
        self._parked: dict[asyncio.Task[Any], Callable[[], float]] = {}
        self._threads = 0

    def is_full(self) -> bool:
        """Tell whether another call would have to wait behind too many."""
        return len(self._outcomes) - len(self._parked) >= self.size + self.max_waiting

    async def run(self, call: Callable[[], T], context: contextvars.Context) -> T:
        """Return what ``call`` returns, run in a thread and in ``context``.

        A cancellation takes effect when the call has ended: a thread cannot be interrupted.

        Raises:
            BaseException: what ``call`` raises.
        """
        loop = asyncio.get_running_loop()
        outcome = _ThreadOutcome(loop=loop)

        def work() -> None:
            _thread.server_loop = loop
            result, error = None, None
            try:
                result = context.run(call)
            except BaseException as raised:  # noqa: BLE001 - `run` raises it in its caller
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(outcome.settle, result, error)

        self._outcomes.add(outcome)
        self._start_thread_if_needed()
        self._calls.put(work)
        try:
            await outcome
        finally:
            self._outcomes.discard(outcome)
            self._end_thread_if_spare()
        return cast("T", outcome.take())

    async def park(self, wait: Coroutine[Any, Any, None], worth: Callable[[], float]) -> None:
        """Await ``wait`` for a call in a thread, and let another call have its place meanwhile.

        When as many calls are parked as there are threads, the one of the least ``worth`` has
        waited enough.

        Raises:
            TimeoutError: it was this one.
            BaseException: what ``wait`` raises.
        """
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._parked[task] = worth
        try:
            if len(self._parked) > self.size:
                least = min(self._parked, key=lambda parked: self._parked[parked]())
                del self._parked[least]
                if least is task:
                    wait.close()
                    raise TimeoutError
                least.cancel()
            self._start_thread_if_needed()
            await wait
        except asyncio.CancelledError:
            if task in self._parked:
                raise
            raise TimeoutError from None
        finally:
            self._parked.pop(task, None)

    def _start_thread_if_needed(self) -> None:
        calls = len(self._outcomes) - len(self._parked)
        if self._threads - len(self._parked) < min(calls, self.size):
            self._threads += 1
            threading.Thread(target=_serve, args=(self._calls,), name="view", daemon=True).start()

    def _end_thread_if_spare(self) -> None:
        if self._threads - len(self._parked) > self.size:
            self._threads -= 1
            self._calls.put(None)

    def close(self) -> None:
        """End the threads; give up calls that still run, and leave their threads to themselves."""
        for outcome in list(self._outcomes):
            outcome.abandon()
        for _ in range(self._threads):
            self._calls.put(None)
        self._threads = 0


def _serve(calls: "queue.SimpleQueue[Callable[[], None] | None]") -> None:
    while (work := calls.get()) is not None:
        work()
        del work  # an idle thread must not keep the last request alive


def block_on_thread(threads: ThreadPool, call: Callable[[], T]) -> T:
    """Return what ``call`` returns, run in a thread while this code, on the loop, is paused.

    Raises:
        BaseException: what ``call`` raises.
    """
    if not is_on_loop():  # made on the loop, by an async method or hook, but sent from a thread
        return call()
    # While its greenlet is paused nothing else uses the context, so the thread can have it.
    context = cast("contextvars.Context", getcurrent().gr_context)
    return block_on(threads.run(call, context))
