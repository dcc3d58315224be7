"""What asyncio knows of suspended tasks and the table of locks does not: which of them holds a lock, and what it awaits.

Asked by the core, in an agent that is about to block, where a walk ends at a task (see _resolve.pyx). Reads asyncio's objects, changes none,
takes no lock. asyncio itself is looked at only where the program has loaded it. What cannot be read is unknown, and an unknown task can run.
"""

from __future__ import annotations

import itertools
import sys
import time
from _weakref import ref
from types import CoroutineType, FunctionType

from fastlock import _core
from fastlock._loops import ident_of, loop_of
from fastlock.chains import entered, frame_of, has_entered, is_in, knows_frames, links_of, referents
from fastlock.findings import Site

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import CodeType
    from typing import Any

# How one agent depends on another: the numbers of _told.pxd.
BY_TASK, BY_GATHER, BY_GROUP, BY_WAIT, BY_JOB, BY_POOL = range(2, 8)

MOST_TASKS = 20_000  # that one question leads to
MOST_PARENTS = 32
MOST_FOUND = 256
_OURS = __file__.rpartition("suspended")[0]


class _Asyncio:
    """The parts of asyncio that are looked at, of the version that is loaded."""

    def __init__(self) -> None:
        import asyncio
        from asyncio import tasks

        from fastlock._results import Pool, work_of

        self.work_of, self.pool = work_of, Pool
        self.asyncio = asyncio
        self.gathering: Any = tasks._GatheringFuture  # type: ignore[attr-defined]
        self.wait_for: CodeType | None = tasks.wait_for.__code__ if sys.version_info < (3, 12) else None
        self.wait: CodeType = tasks._wait.__code__  # type: ignore[attr-defined]
        self.timeout: Any = getattr(asyncio, "Timeout", ())
        group = getattr(asyncio, "TaskGroup", None)
        names = ("__aexit__", "_aexit")
        self.group: type | tuple[()] = group or ()
        self.groups = {function.__code__ for name in names for function in [getattr(group, name, None)] if function}
        codes = {*self.groups, self.wait, *([self.wait_for] if self.wait_for else [])}
        _core.set_waiting(asyncio.Future, frozenset(codes))


_known: _Asyncio | None = None


def _asyncio() -> _Asyncio:
    global _known
    if _known is None:
        _known = _Asyncio()
    return _known


# ---- who holds a lock of a loop's thread ------------------------------------------------------------------


def _suspended_tasks(ident: int) -> list[Any]:
    asyncio = _asyncio().asyncio
    loop = loop_of(ident)
    if loop is None:
        return []
    current = asyncio.current_task(loop)
    return [task for task in asyncio.all_tasks(loop) if task is not current]


# Who was found last, by thread and frame: the second round of a find, and who wants the lock next, need not look at every task.
_found: dict[tuple[int, int], ref[Any]] = {}


def _holder(ident: int, frame: int, code: CodeType | None) -> Any:
    """Return the suspended task that the frame belongs to, None where there is none; some 1 us for each task of the loop."""
    known = _found.get((ident, frame), _nobody)()
    if known is not None and not known.done() and _has(links_of(known.get_coro()), frame):
        return known
    task = _searched(ident, frame, code)
    if len(_found) >= MOST_FOUND:
        _found.clear()
    if task is not None and frame != 0:
        _found[ident, frame] = ref(task)
    return task


def _nobody() -> None:
    return None


def _has(links: Sequence[Any], frame: int) -> bool:
    return knows_frames() and (is_in(links, frame) or has_entered(links, frame))


def _searched(ident: int, frame: int, code: CodeType | None) -> Any:
    tasks = _suspended_tasks(ident)
    if frame == 0 or not knows_frames():
        able = [task for task in tasks if any(getattr(link, "cr_code", None) is code for link in links_of(task.get_coro()))]
        return able[0] if len(able) == 1 else None
    chains = []
    for task in tasks:
        links = links_of(task.get_coro())
        if is_in(links, frame):
            return task
        chains.append((task, links))
    return next((task for task, links in chains if has_entered(links, frame)), None)


# ---- what a task awaits -------------------------------------------------------------------------------------


def _awaited(task: Any) -> list[tuple[Any, int]]:
    """Return the futures that all have to be done before a suspended task goes on, and how it waits for them; none: it can run, or unknown."""
    known = _asyncio()
    future = getattr(task, "_fut_waiter", None)
    if future is None or future.done():
        return []
    if isinstance(future, known.asyncio.Task):
        return [(future, BY_TASK)]
    through = _behind(future)
    if through:
        return through
    links = [link for link in links_of(task.get_coro()) if type(link) is CoroutineType]
    frame = links[-1].cr_frame if links else None
    if frame is None:
        return []
    if frame.f_code is known.wait_for:
        return [(frame.f_locals.get("fut"), BY_TASK)]
    if frame.f_code is known.wait:
        return [(each, BY_WAIT) for each in _waited(frame.f_locals)]
    if frame.f_code in known.groups:
        return [(each, BY_GROUP) for each in list(getattr(frame.f_locals.get("self"), "_tasks", ()))]
    return []


def _waited(names: Any) -> list[Any]:
    """Return the futures that asyncio.wait() needs all of."""
    futures = [future for future in list(names.get("fs") or ()) if not future.done()]
    return futures if len(futures) == 1 or names.get("return_when") == _asyncio().asyncio.ALL_COMPLETED else []


def _behind(future: Any) -> list[tuple[Any, int]]:
    """Return what a future of asyncio's own making stands for: a gather's children, a shield's inner one, a thread's work."""
    if isinstance(future, _asyncio().gathering):
        return [(child, BY_GATHER) for child in list(future._children)]
    for callback, _ in list(getattr(future, "_callbacks", None) or ()):
        if isinstance(callback, FunctionType):
            if callback.__qualname__ == "shield.<locals>._outer_done_callback":
                return [(inner, BY_TASK) for inner in _cell(callback, "inner")]
            if callback.__qualname__ == "_chain_future.<locals>._call_check_cancel":
                return [behind for source in _cell(callback, "source") for behind in _work_for(source)]
    return []


def _work_for(future: Any) -> list[tuple[Any, int]]:
    """Return what a concurrent future's result comes from: the thread that runs it, the pool that it is queued in, or the task of run_coroutine_threadsafe()."""
    work = _asyncio().work_of(future)
    if work is not None:
        return [(work, BY_JOB if isinstance(work, int) else BY_POOL)]
    callbacks = list(getattr(future, "_done_callbacks", None) or ())
    return [(task, BY_TASK) for callback in callbacks if isinstance(callback, FunctionType) for task in _cell(callback, "source")]


def _cell(function: FunctionType, name: str) -> list[Any]:
    names = function.__code__.co_freevars
    cells = function.__closure__ or ()
    return [cell.cell_contents for each, cell in zip(names, cells) if each == name]


def _agents(future: Any, how: int, depth: int = 8) -> Iterator[tuple[Any, int]]:
    """Yield the tasks, the ids of threads' agents and the pools that a future needs all of."""
    asyncio = _asyncio().asyncio
    if isinstance(future, int):
        yield future, how
    elif isinstance(future, _asyncio().pool):
        yield future, BY_POOL
    elif depth == 0 or not asyncio.isfuture(future) or future.done():
        return
    elif isinstance(future, asyncio.Task):
        yield future, how
    else:
        for inner, way in _behind(future):
            yield from _agents(inner, way if how == BY_TASK else how, depth - 1)


def _relations(tasks: Iterable[Any], most: int = MOST_TASKS) -> list[tuple[Any, ...]]:
    """Return who awaits whom, from these tasks on, so many of which are asked: (task, its thread, how, code and instruction of the await, what is awaited)."""
    asyncio = _asyncio().asyncio
    relations: list[tuple[Any, ...]] = []
    asked: set[Any] = set()
    queue = list(tasks)
    while queue and len(asked) < most:
        task = queue.pop()
        if task in asked:
            continue
        asked.add(task)
        code, lasti = None, 0
        for future, way in _awaited(task):
            for other, how in _agents(future, way):
                if code is None:
                    code, lasti = _await_site(task)
                whom = other
                if isinstance(other, asyncio.Task):
                    queue.append(other)
                    whom = (other, thread_of(other.get_loop()))
                relations.append((task, whom, thread_of(task.get_loop()), how, code, lasti, task._fut_waiter))
    return relations


def needed_by(task: Any, most: int) -> list[Any]:
    """Return at most so many of the tasks, ids of threads' agents and pools that a suspended task needs all of; none: something else, or unknown."""
    needed = (other for future, way in _awaited(task) for other, _ in _agents(future, way))
    return list(dict.fromkeys(itertools.islice(needed, most)))


def thread_of(loop: Any) -> int | None:
    """Return the ident of the thread that runs a loop, None where that is not known."""
    ident = getattr(loop, "_thread_id", None)  # uvloop does not say
    return ident if isinstance(ident, int) else ident_of(loop)


def awaited_from(task: Any) -> list[tuple[Any, Any, int | None]]:
    """Return who awaits whom from a suspended task on: (task, whom, ident of the task's thread), whom as (task, ident), of a thread its agent's id."""
    if "asyncio" not in sys.modules or task.done():
        return []
    return [(one, whom, ident) for one, whom, ident, *_ in _relations([task])]


def awaits_from(task: Any, most: int) -> list[tuple[Any, Any, int]]:
    """Return at most so many of who awaits whom from a suspended task on: (task, a task, thread's id or pool, how)."""
    if "asyncio" not in sys.modules or task.done():
        return []
    relations = _relations([task], most)[:most]
    return [(one, whom[0] if isinstance(whom, tuple) else whom, how) for one, whom, _, how, *_ in relations]


def _await_site(task: Any) -> tuple[CodeType | None, int]:
    """Return the innermost await of the program's own in a suspended task: code object and instruction."""
    place: tuple[CodeType | None, int] = (None, 0)
    for link in links_of(task.get_coro()):
        frame = frame_of(link)
        file = "" if frame is None else frame.f_code.co_filename
        if frame is not None and not file.startswith(_OURS) and (place[0] is None or not _is_asyncio(file)):
            place = (frame.f_code, frame.f_lasti)
    return place


def _is_asyncio(file: str) -> bool:
    return "/asyncio/" in file or "/uvloop/" in file or file.startswith("<")


def resolve(tasks: Sequence[Any], frames: Sequence[tuple[int, int, CodeType | None]]) -> tuple[list[Any], list[Any], list[Any]]:
    """Return who awaits whom from these tasks and the holders on, which of them have ended, and the task of each frame or None."""
    if "asyncio" not in sys.modules:
        return [], [], [None] * len(frames)
    ended = [task for task in tasks if task.done()]
    holders = [_holder(*frame) for frame in frames]
    going_on = [task for task in [*tasks, *holders] if task is not None and not task.done()]
    return _relations(going_on), ended, holders


# ---- deadlines ----------------------------------------------------------------------------------------------


def deadlines_of(tasks: Sequence[Any]) -> list[int | None]:
    """Return when each suspended task is to be interrupted (CLOCK_MONOTONIC, ns), None where nothing is known to do it."""
    return [_deadline(task) for task in tasks]


def _deadline(task: Any) -> int | None:
    loop = task.get_loop()
    family = _family(task)
    whens = [when for each in family for when in _timeouts(each)]
    whens += _timers(loop, family)
    return time.monotonic_ns() + int((min(whens) - loop.time()) * 1e9) if whens else None


def _family(task: Any) -> list[Any]:
    """Return the task and those whose end is its end too, for they wait for it: a cancellation of theirs goes on to it."""
    family = [task]
    for each in family:
        for callback, _ in list(getattr(each, "_callbacks", None) or ()):
            family += [parent for parent in _parents(callback) if parent not in family]
        if len(family) > MOST_PARENTS:
            break
    return family


def _parents(callback: Any, depth: int = 4) -> Iterator[Any]:
    known = _asyncio()
    futures: list[Any] = []
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, known.asyncio.Task):
        yield owner
    elif isinstance(owner, known.group):
        yield from filter(None, [getattr(owner, "_parent_task", None)])
    elif getattr(callback, "func", None) is getattr(known.asyncio.tasks, "_release_waiter", callback):
        futures = list(callback.args)
    elif isinstance(callback, FunctionType) and callback.__qualname__ == "gather.<locals>._done_callback":
        futures = _cell(callback, "outer")
    for future in futures if depth else ():
        for each, _ in list(getattr(future, "_callbacks", None) or ()):
            yield from _parents(each, depth - 1)


def _timeouts(task: Any) -> Iterator[float]:
    """Yield the times, by the loop's clock, of the timeouts that a suspended task is in."""
    known = _asyncio()
    for link in links_of(task.get_coro()):
        if type(link) is CoroutineType and link.cr_frame is not None and link.cr_code in (known.wait_for, known.wait):
            handle = link.cr_frame.f_locals.get("timeout_handle")
            if handle is not None and not handle.cancelled():
                yield handle.when()
        for each in [*referents(link), *(inner for one in entered(link) for inner in referents(one))]:
            when = _when(getattr(each, "__self__", each) if type(each).__name__ == "method" else each)
            if when is not None:
                yield when


def _when(manager: Any) -> float | None:
    kind = type(manager)
    if isinstance(manager, _asyncio().timeout):
        when = manager.when()
    elif kind.__name__ in ("Timeout", "CancelScope") and kind.__module__.partition(".")[0] in ("async_timeout", "anyio"):
        when = getattr(manager, "deadline", None)
    else:
        return None
    return when if when is not None and when != float("inf") else None


def _timers(loop: Any, tasks: Sequence[Any]) -> Iterator[float]:
    """Yield the times of the loop's timers, and of callbacks that are due, which cancel one of these tasks."""
    for handle in [*getattr(loop, "_scheduled", ()), *getattr(loop, "_ready", ())]:
        if not handle.cancelled() and _cancelled_by(getattr(handle, "_callback", None)) in tasks:
            yield handle.when() if hasattr(handle, "when") else loop.time()


def _cancelled_by(callback: Any) -> Any:
    """Return the task that a callback cancels: its own cancel(), or the timeout of a manager that it is in; None where it is no such callback."""
    name, owner = getattr(callback, "__name__", ""), getattr(callback, "__self__", None)
    if name == "cancel":
        return owner
    # Of asyncio and async_timeout, and of anyio. What a running task has entered is seen in no other way.
    return getattr(owner, {"_on_timeout": "_task", "_timeout": "_host_task"}.get(name, ""), None)


# ---- for reports --------------------------------------------------------------------------------------------


def note_tasks(event: dict[str, Any]) -> None:
    """Add to an event who holds a lock in the name of a thread, and how many tasks stand still with each that has stopped its loop."""
    name_holder(event)
    stands: dict[int, int] = {}
    for agent in itertools.islice(event["agents"], 64):
        task = _core.task_of(agent["id"]) if agent.get("stops") else None
        if task is not None:
            stands[agent["id"]] = number = len(_asyncio().asyncio.all_tasks(task.get_loop()) - {task})
            event["reasons"].append(f"the loop of {agent['loop']} is stopped, {number:,} task{'s' * (number != 1)} with it")
    event["stands"] = stands


def name_holder(event: dict[str, Any]) -> None:
    """Put the suspended task that holds the lock of a long or expired wait in the place of its loop's thread."""
    placed = event.get("placed")
    if placed is None or "asyncio" not in sys.modules:
        return
    task = _holder(*placed[:3])
    facts = None if task is None else _core.suspended_holder(task, *placed[3:])
    if facts is None:
        return
    facts["task"] = task  # its record is not kept
    lock, waiter = event["locks"][0], event["edges"][0]["agent"]
    thread, lock["owner"] = lock["owner"], facts["id"]
    event["agents"] = [agent for agent in event["agents"] if agent["id"] == waiter or agent["id"] != thread] + [facts]
    for edge in event["edges"][1:]:
        if edge["agent"] == thread:
            edge.update(agent=facts["id"], waits=None, wanted_at=0, since_ns=0, deadline_ns=None, what="")


def await_chain(agent: dict[str, Any]) -> list[Site] | None:
    """Return the lines where a suspended task awaits, without their source, the innermost last; None for an agent that is none."""
    if agent["kind"] != "task" or agent["stops"]:
        return None
    task = agent.get("task") or _core.task_of(agent["id"])
    if task is None or task is _asyncio().asyncio.current_task(task.get_loop()):
        return None
    sites = []
    for link in links_of(task.get_coro()):
        frame = frame_of(link)
        if frame is not None:
            code = frame.f_code
            sites.append(Site(code.co_filename, frame.f_lineno or 0, getattr(code, "co_qualname", code.co_name)))
    return sites


def start() -> None:
    """Give the core its resolver; once, at import."""
    _core.set_resolver(resolve, deadlines_of)
