"""Event loops that have nothing to run, and what their tasks wait for.

A loop rests where its thread is in select() without a limit, nothing is ready, no timer runs, and nothing is registered but the pipe by which other threads
wake it: then only another thread can give it something to run. All of that is read in asyncio's own objects, under the GIL, and from without: the loop
itself is asked nothing, and has nothing put into it. A loop of another making (uvloop) does not say, and may run at any moment.

That it has rested all the time between two looks is known by its thread's frame: it is in the very same call of select().
"""

from __future__ import annotations

import gc
import itertools
import os
import sys
import time
from types import CodeType, CoroutineType, FrameType, FunctionType, ModuleType

from fastlock import _lent, _loops, _overdue, chains
from fastlock.chains import frame_of, links_of, referents
from fastlock.lean import NamedTuple
from fastlock.reporting import is_stdlib
from fastlock.suspended import needed_by

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

MOST_LENT = 500  # tasks of one loop whose waits are told of
MOST_STEPS, MOST_MET = 4, 5000  # from a suspended frame to a task: in a variable, an attribute, a list of those; and objects on the way, for each step
_LEAD_AWAY = (type, ModuleType, FunctionType, CodeType, FrameType)
_CALLS = ("get", "put", "join")

_seen: dict[int, tuple[int, int]] = {}  # by thread of a loop that rests: its step, and since when it is known to rest
_late: set[tuple[int, int]] = set()  # tasks that have waited for too long, and since when
_due_ns = -1  # when loops are to be looked at; -1: none runs
_waker: Callable[[], object] | None = None


class Await(NamedTuple):
    """What a suspended task waits for, in words: the call, the thing's name, kind and class; and the line, as a site that nobody has interned."""

    what: str
    name: str
    kind: str
    label: str
    at: tuple[str, int, str] | None


# ---- whether a loop rests -----------------------------------------------------------------------


def loops(frames: Mapping[int, FrameType]) -> dict[int, Any]:
    """Return the loops that rest, by the ident of their thread; `frames` are the threads' innermost ones."""
    return {ident: loop for ident, loop in _loops.loops_of_threads().items() if _has_nothing(loop) and _selects(loop, frames.get(ident))}


def still(rested: Mapping[int, Any], before: Mapping[int, FrameType], now: Mapping[int, FrameType]) -> bool:
    """Tell whether these loops have rested from one look at the threads' frames to the other."""
    return all(now.get(ident) is before[ident] and _has_nothing(loop) for ident, loop in rested.items())


def _has_nothing(loop: Any) -> bool:
    """Tell whether a loop waits for nothing but what another thread may give it."""
    base = getattr(sys.modules.get("asyncio.base_events"), "BaseEventLoop", ())
    if not isinstance(loop, base):
        return False
    try:
        own = loop._ssock.fileno()
        idle = not (loop._ready or loop._stopping or getattr(loop, "_signal_handlers", None))
        return idle and all(handle._cancelled for handle in list(loop._scheduled)) and set(loop._selector.get_map()) == {own}
    except (AttributeError, TypeError, RuntimeError):  # of another making; closed; changed meanwhile
        return False


def _selects(loop: Any, frame: FrameType | None) -> bool:
    """Tell whether a thread stands in the loop's select(), called without a limit."""
    select = getattr(getattr(type(getattr(loop, "_selector", None)), "select", None), "__code__", None)
    outer = None if frame is None or frame.f_code is not select or not is_stdlib(frame.f_code.co_filename) else frame.f_back
    once = sys.modules["asyncio.base_events"].BaseEventLoop._run_once
    if outer is None or outer.f_code is not once.__code__:
        return False
    names = outer.f_locals
    return names.get("self") is loop and names.get("timeout", 0) is None


# ---- what its tasks wait for ----------------------------------------------------------------------


def lend(rested: Mapping[int, Any], frames: Mapping[int, FrameType]) -> tuple[list[_lent.Lent], int]:
    """Publish what the tasks of these loops wait for that is in no table, until the list is let go; and return how many more there are."""
    lent: list[_lent.Lent] = []
    more = 0
    for ident, loop in rested.items():
        since_ns = _since(ident)
        things: dict[tuple[int, str], _lent.Thing] = {}
        needs = _needs_in_order(loop, frames.get(ident))
        tasks = [task for task in needs if not _lent.waits(task)]
        more += max(0, len(tasks) - MOST_LENT)
        for number, task in enumerate(tasks[:MOST_LENT]):
            thing = _thing(task, needs[task], things)
            one = _lent.lend(task, thing, since_ns + number) if thing is not None else None
            if one is not None:
                lent.append(one)
    return lent, more


def steps_of(rested: Mapping[int, Any]) -> tuple[tuple[int, int], ...]:
    """Return by what it is known later that these loops still rest: their steps."""
    return tuple((ident, _loops.step_of(ident)) for ident in rested)


def _since(ident: int) -> int:
    """Return since when, by CLOCK_MONOTONIC, a loop that rests is known to rest; that is now, where nobody has looked before."""
    step, since_ns = _seen.get(ident, (-1, 0))
    return since_ns if step == _loops.step_of(ident) else time.monotonic_ns()


def wanted(frames: Mapping[int, FrameType]) -> dict[int, int]:
    """Return the ids of the tasks that wait to be woken and whose end somebody waits for, each with since when: those that loops run for, and whom they await."""
    waits: dict[int, int] = {}
    for ident, loop in _loops.loops_of_threads().items():
        if not isinstance(loop, getattr(sys.modules.get("asyncio.base_events"), "BaseEventLoop", ())):
            continue
        main = _main_of(frames.get(ident))
        queue = dict.fromkeys([main] if isinstance(main, sys.modules["asyncio"].Task) else [])
        try:
            found = [wait for task in itertools.islice(_growing(queue), MOST_LENT) if (wait := _lent.wait_of(task)) is not None]
        except (AttributeError, TypeError, RuntimeError):  # a task of another making, or it runs: what cannot be read is unknown
            continue
        waits.update(found)
    return waits


def _growing(queue: dict[Any, None]) -> Iterator[Any]:
    """Yield these tasks, and whom they need, and so on, each once."""
    asyncio = sys.modules["asyncio"]
    order = list(queue)
    for task in order:
        yield task
        new = [each for each in needed_by(task, MOST_LENT) if isinstance(each, asyncio.Task) and each not in queue]
        queue.update(dict.fromkeys(new))
        order += new


def _needs_in_order(loop: Any, frame: FrameType | None) -> dict[Any, list[Any]]:
    """Return the tasks of a loop: the one that it runs for first, then whom that waits for, then the others; and some of whom each needs, if it is one of the first."""
    asyncio = sys.modules["asyncio"]
    tasks = asyncio.all_tasks(loop)
    needs: dict[Any, list[Any]] = {}
    queue = [main] if (main := _main_of(frame)) in tasks else []
    for task in itertools.chain(queue, tasks):  # the queue grows meanwhile
        if len(needs) == MOST_LENT:
            break
        if task not in needs:
            needs[task] = needed_by(task, MOST_LENT)
            queue += [each for each in needs[task] if isinstance(each, asyncio.Task) and each in tasks]
    return needs | {task: [] for task in tasks if task not in needs}


def _main_of(frame: FrameType | None) -> Any:
    """Return the task that a loop runs for, None where it runs for ever; `frame` is its thread's innermost."""
    code = sys.modules["asyncio.base_events"].BaseEventLoop.run_until_complete.__code__
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return None if frame is None else frame.f_locals.get("future")


def _thing(task: Any, needs: list[Any], things: dict[tuple[int, str], _lent.Thing]) -> _lent.Thing | None:
    """Return what a task waits for, one thing for all who wait for it; None where it waits for nothing."""
    future = getattr(task, "_fut_waiter", None)
    if future is None or future.done():
        return None
    if needs:  # all are needed, so some of them say as much
        return _lent.Thing(*_results(needs), needs)
    told, owner = describe(task), _owner(task)
    key = id(future if owner is None else owner), told.what.partition(" on ")[0]
    if key not in things:
        things[key] = _lent.Thing(told.name, told.label)
    return things[key]


def _results(needs: list[Any]) -> tuple[str, str]:
    """Return what to call the results of these tasks and jobs, and the class, which does not say how many there are."""
    if len(needs) > 1:
        return f"results of {len(needs)}{'' if len(needs) < MOST_LENT else ' and more'} tasks", "results of tasks"
    coroutine = needs[0].get_coro() if hasattr(needs[0], "get_coro") else None
    name = "a job" if coroutine is None else f"{getattr(coroutine, '__qualname__', type(coroutine).__qualname__).rpartition('<locals>.')[2]}()"
    return f"result of {name}", f"result of {name}"


def describe(task: Any) -> Await:
    """Return in words what a suspended task waits for."""
    owner, frame = _owner(task), _innermost(task)
    at = _place(task)
    if owner is None or frame is None:
        called = f"asyncio.{frame.f_code.co_name}()" if frame is not None and is_stdlib(frame.f_code.co_filename) else "a future"
        return Await("await", called, "Future", called, at)
    kind, call = type(owner).__name__, frame.f_code.co_name
    prefix = "asyncio." if type(owner).__module__.startswith("asyncio.") else ""
    name, label = _called(owner)
    if is_queue(owner) and call in _CALLS:
        return Await(f"{prefix}{kind}.{call} on {name}{_filling(owner, call)}", name, kind, label, at)
    return Await(f"{prefix}{kind}.{call}", name, kind, label, at)


def is_queue(thing: Any) -> bool:
    """Tell whether this is a queue of asyncio's."""
    return isinstance(thing, getattr(sys.modules.get("asyncio.queues"), "Queue", ()))


def _innermost(task: Any) -> FrameType | None:
    """Return the innermost coroutine's frame of a suspended task."""
    frames = [link.cr_frame for link in links_of(task.get_coro()) if type(link) is CoroutineType]
    return frames[-1] if frames else None


def _owner(task: Any) -> Any:
    """Return the object of asyncio's whose method a task waits in, None where it is in none."""
    frame = _innermost(task)
    if frame is None or not is_stdlib(frame.f_code.co_filename):
        return None
    return frame.f_locals.get("self")


def _called(owner: Any) -> tuple[str, str]:
    """Return name and class of an object of asyncio's: a queue's from where it was made, which the event knows that it has, if that is ours."""
    known = getattr(sys.modules.get("fastlock._aio_conditions"), "known_as", None)
    names = known(getattr(owner, "_finished", None)) if known is not None else None
    kind = type(owner).__name__
    return (names[0], names[1]) if names is not None else (kind, kind)


def _filling(queue: Any, call: str) -> str:
    if call == "put":
        ours_to_call = type(queue).qsize.__module__ == "asyncio.queues"  # else it is code of the program's
        return f", {len(queue._queue)} of {queue.maxsize}" if ours_to_call and hasattr(queue, "_queue") else f", full at {queue.maxsize}"
    return f", {queue._unfinished_tasks} unfinished" if call == "join" else ", empty"


def _place(task: Any) -> tuple[str, int, str] | None:
    """Return the innermost line outside the standard library at which a task is suspended."""
    frames = [frame for frame in map(frame_of, links_of(task.get_coro())) if frame is not None]
    outer = next((frame for frame in reversed(frames) if not is_stdlib(frame.f_code.co_filename)), None)
    if outer is None:
        return None
    return outer.f_code.co_filename, outer.f_lineno or 0, getattr(outer.f_code, "co_qualname", outer.f_code.co_name)


def failures(tasks: Iterable[Any]) -> list[str]:
    """Return a sentence for each task that has ended with an exception which nobody has asked for yet, of those that these suspended tasks' frames lead to."""
    task_type = sys.modules["asyncio"].Task
    known: dict[int, Any] = {}
    level = [link for task in tasks for link in links_of(task.get_coro())]
    for _ in range(MOST_STEPS):
        found = [each for link in level for each in (referents(link) or gc.get_referents(link)) if not isinstance(each, _LEAD_AWAY)]
        level = list({id(each): each for each in found if id(each) not in known}.values())[:MOST_MET]
        known.update((id(each), each) for each in level)
    failed = [each for each in known.values() if issubclass(type(each), task_type) and each.done() and getattr(each, "_log_traceback", False)]
    return [_failure(task) for task in failed]


def _failure(task: Any) -> str:
    error = task._exception
    entry, at = error.__traceback__, ""
    while entry is not None:
        if not is_stdlib(entry.tb_frame.f_code.co_filename):
            at = f" at {os.path.basename(entry.tb_frame.f_code.co_filename)}:{entry.tb_lineno}"
        entry = entry.tb_next
    name = getattr(task.get_coro(), "__qualname__", "").rpartition("<locals>.")[2]
    return f'{task.get_name()} "{name}" has ended with {type(error).__name__}{at}, and nobody has asked for its result'


# ---- when to look -----------------------------------------------------------------------------------


def _begins() -> None:
    """Have loops looked at from now on; called in the thread of a loop that begins to run."""
    global _due_ns
    gap_ns = _overdue.gap_ns()
    if _due_ns < 0 <= gap_ns:
        _due_ns = time.monotonic_ns() + gap_ns
        if _waker is not None:
            _waker()


def due_ns() -> int:
    """Return when check() is to be called next, by CLOCK_MONOTONIC; -1 for never."""
    return _due_ns


def look_again() -> None:
    """Called when settings have changed: loops may have to be looked at that were not before."""
    if _loops.loops_of_threads():
        _begins()


def check() -> None:
    """See which loops rest, and have somebody look for stalls where one has rested since the last time; for the reporting thread.

    Some microseconds, as long as a loop runs, once in `slow_wait`.
    """
    global _due_ns
    running, gap_ns = _loops.loops_of_threads(), _overdue.gap_ns()
    now = time.monotonic_ns()
    _due_ns = now + gap_ns if running and gap_ns >= 0 else -1
    before = dict(_seen)
    _seen.clear()
    for ident, loop in running.items():
        if _has_nothing(loop):
            step, since_ns = _loops.step_of(ident), now
            known = before.get(ident)
            if known is not None and known[0] == step:
                since_ns = known[1]
                if since_ns + 2 * gap_ns > now:  # for the first time: from then on looks become rare by themselves
                    _overdue.late()
            _seen[ident] = step, since_ns
    _check_tasks(now, gap_ns)


def _check_tasks(now: int, gap_ns: int) -> None:
    """Have somebody look for stalls where a task whose end is waited for has waited for too long."""
    global _late
    with chains.frames_now() as frames:
        late = {(agent, since_ns) for agent, since_ns in wanted(frames).items() if since_ns + gap_ns < now}
    if late - _late:
        _overdue.late()
    _late = late


def some() -> bool:
    """Tell whether some loop rests, or a task is late, as far as the last check has seen."""
    return bool(_seen or _late)


def _after_fork_in_child() -> None:
    global _due_ns, _late
    _due_ns, _late = -1, set()
    _seen.clear()


def start(waker: Callable[[], object]) -> None:
    """Follow loops as they begin; waker() makes the reporting thread ask due_ns() again; once, at import."""
    global _waker
    _waker = waker
    _loops.set_loop_hook(_begins)
    os.register_at_fork(after_in_child=_after_fork_in_child)
