"""What asyncio knows of suspended tasks and the table of locks does not: which of them holds a lock, and what it awaits.

Asked by the core, in an agent that is about to block, where a walk ends at a task (see _resolve.pyx). Reads asyncio's objects, changes none,
takes no lock. asyncio itself is looked at only where the program has loaded it. What cannot be read is unknown, and an unknown task can run.
"""

from __future__ import annotations

import gc
import itertools
import sys
import time
from _thread import get_ident
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, FunctionType, GeneratorType
from typing import Any

from fastlock import _core
from fastlock.findings import Site

# How one agent depends on another: the numbers of _told.pxd.
BY_TASK, BY_GATHER, BY_GROUP, BY_WAIT, BY_JOB = range(2, 7)

MOST_LINKS = 200  # of a chain of awaits
MOST_TASKS = 20_000  # that one question leads to
MOST_PARENTS = 32
_OLD = sys.version_info < (3, 11)
_SUSPENDED = (CoroutineType, GeneratorType, AsyncGeneratorType)
_ITERATORS = frozenset({"async_generator_asend", "async_generator_athrow", "coroutine_wrapper", "anext_awaitable"})
_AWAITED = {CoroutineType: "cr_await", GeneratorType: "gi_yieldfrom", AsyncGeneratorType: "ag_await"}
_FRAME = {CoroutineType: "cr_frame", GeneratorType: "gi_frame", AsyncGeneratorType: "ag_frame"}


def _no_worker(future: Any) -> Any:
    return None


# What a concurrent.futures.Future is worked on by: a task, or the id of a thread's agent; None where that is not known.
worker_of: Callable[[Any], Any] = _no_worker


class _Asyncio:
    """The parts of asyncio that are looked at, of the version that is loaded."""

    def __init__(self) -> None:
        import asyncio
        from asyncio import tasks

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


# ---- frames ---------------------------------------------------------------------------------------------


def _measure() -> int | None:
    """Return where a suspended frame lies inside its coroutine or generator, None where that is not the same for all."""
    told: list[int] = []

    def generator() -> Any:
        told.append(_core.frame_here())
        yield

    async def coroutine() -> None:
        told.append(_core.frame_here())

    async def async_generator() -> Any:
        told.append(_core.frame_here())
        yield

    one, two, three = generator(), coroutine(), async_generator()
    next(one)
    frames = [one.gi_frame]
    for step in (two, three.__anext__()):
        frames.append(getattr(two, "cr_frame") if step is two else three.ag_frame)
        try:
            step.send(None)
        except (StopIteration, StopAsyncIteration):
            continue
    places = frames if _OLD else [one, two, three]
    offsets = {frame - (id(place) & _MASK) for frame, place in zip(told, places)}
    return offsets.pop() if len(offsets) == 1 and 0 not in told else None


_MASK = (1 << 48) - 1
_OFFSET = _measure()


def _address(link: Any) -> int:
    """Return what the core notes of a frame: where the one of a suspended coroutine or generator is."""
    if _OLD:
        return id(getattr(link, _FRAME[type(link)])) & _MASK
    return (id(link) + (_OFFSET or 0)) & _MASK


def links_of(coroutine: Any) -> list[Any]:
    """Return a chain of awaits: coroutines, generators and, at its end, what is waited for, the innermost last."""
    links: list[Any] = []
    link = coroutine
    while link is not None and len(links) < MOST_LINKS:
        links.append(link)
        attribute = _AWAITED.get(type(link))
        if attribute is not None:
            link = getattr(link, attribute)
        elif type(link).__name__ in _ITERATORS:
            link = next((each for each in gc.get_referents(link) if type(each) in _SUSPENDED), None)
        else:
            link = getattr(link, "cr_await", None)  # a coroutine of another making, as Cython's
    return links


def _referents(link: Any) -> list[Any]:
    """Return what the frame of a suspended coroutine or generator refers to, its stack of values included."""
    if type(link) not in _SUSPENDED:
        return []
    found = gc.get_referents(link)
    if _OLD:
        found += [each for frame in found if type(frame) is FrameType for each in gc.get_referents(frame)]
    return found


def _entered(link: Any) -> Iterator[Any]:
    """Yield the generators behind the context managers and iterations that a suspended frame is in."""
    for each in _referents(link):
        if type(each) in _SUSPENDED:
            yield each
            continue
        manager = getattr(each, "__self__", each) if type(each).__name__ == "method" else each
        yield from _generators(manager)


def _generators(manager: Any) -> Iterator[Any]:
    contextlib = sys.modules.get("contextlib")
    if contextlib is None:
        return
    if isinstance(manager, contextlib._GeneratorContextManagerBase):
        yield manager.gen
    elif isinstance(manager, contextlib._BaseExitStack):
        for _, callback in list(manager._exit_callbacks):
            yield from _generators(getattr(callback, "__self__", None))


def _is_in(links: Iterable[Any], frame: int, depth: int = 3) -> bool:
    """Tell whether one of the frames that a suspended frame has entered is the one looked for."""
    for link in links:
        for generator in _entered(link) if type(link) in _SUSPENDED else ():
            if _address(generator) == frame or (depth and _is_in([generator], frame, depth - 1)):
                return True
    return False


# ---- who holds a lock of a loop's thread ------------------------------------------------------------------


def loops_of(ident: int) -> list[Any]:
    """Return the event loops that a thread runs."""
    asyncio = _asyncio().asyncio
    running = asyncio._get_running_loop()
    if running is not None and ident == get_ident():
        return [running]
    loops = []
    frame = frames_now().get(ident)
    while frame is not None:
        if frame.f_code.co_name == "run_forever":
            loop = frame.f_locals.get("self")
            if isinstance(loop, asyncio.AbstractEventLoop):
                loops.append(loop)
        frame = frame.f_back
    return loops


def frames_now() -> dict[int, FrameType]:
    """Return the innermost frame of each thread.

    Through 3.11 sys._current_frames() deadlocks where its own allocations start a collection whose finalisers make a thread, so none
    starts meanwhile.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()
    finally:
        if enabled:
            gc.enable()


def _suspended_tasks(ident: int) -> list[Any]:
    asyncio = _asyncio().asyncio
    tasks: list[Any] = []
    for loop in loops_of(ident):
        current = asyncio.current_task(loop)
        tasks += [task for task in asyncio.all_tasks(loop) if task is not current]
    return tasks


def _holder(ident: int, frame: int, code: CodeType | None) -> Any:
    """Return the suspended task that the frame belongs to, None where there is none."""
    tasks = _suspended_tasks(ident)
    if frame == 0 or _OFFSET is None:
        able = [task for task in tasks if any(getattr(link, "cr_code", None) is code for link in links_of(task.get_coro()))]
        return able[0] if len(able) == 1 else None
    address = _OFFSET
    chains = []
    for task in tasks:
        links = links_of(task.get_coro())
        for link in links:
            if (type(link) in _SUSPENDED and _address(link) == frame) if _OLD else (id(link) + address) & _MASK == frame:
                return task
        chains.append((task, links))
    return next((task for task, links in chains if _is_in(links, frame)), None)


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
                return [(source, BY_JOB) for source in _cell(callback, "source")]
    return []


def _cell(function: FunctionType, name: str) -> list[Any]:
    names = function.__code__.co_freevars
    cells = function.__closure__ or ()
    return [cell.cell_contents for each, cell in zip(names, cells) if each == name]


def _agents(future: Any, how: int, depth: int = 8) -> Iterator[tuple[Any, int]]:
    """Yield the tasks, and the ids of threads' agents, that a future needs all of."""
    asyncio = _asyncio().asyncio
    if future is None or depth == 0:
        return
    if not asyncio.isfuture(future):
        worker = worker_of(future)
        if worker is not None:
            yield worker, BY_JOB
    elif future.done():
        return
    elif isinstance(future, asyncio.Task):
        yield future, how
    else:
        for inner, _ in _behind(future):
            yield from _agents(inner, how if how != BY_TASK else _, depth - 1)


def _relations(tasks: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Return who awaits whom, from these tasks on: (task, its thread, how, code and instruction of the await, what is awaited)."""
    asyncio = _asyncio().asyncio
    relations: list[tuple[Any, ...]] = []
    asked: set[Any] = set()
    queue = list(tasks)
    while queue and len(asked) < MOST_TASKS:
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


def thread_of(loop: Any) -> int | None:
    """Return the ident of the thread that runs a loop, None where that is not known."""
    ident = getattr(loop, "_thread_id", None)
    return ident if isinstance(ident, int) else None


def _await_site(task: Any) -> tuple[CodeType | None, int]:
    """Return the innermost await of the program's own in a suspended task: code object and instruction."""
    place: tuple[CodeType | None, int] = (None, 0)
    for link in links_of(task.get_coro()):
        frame = getattr(link, _FRAME[type(link)], None) if type(link) in _FRAME else None
        if frame is not None and (place[0] is None or not _is_asyncio(frame.f_code.co_filename)):
            place = (frame.f_code, frame.f_lasti)
    return place


def _is_asyncio(file: str) -> bool:
    return "/asyncio/" in file or "/uvloop/" in file or file.startswith("<")


def resolve(tasks: Sequence[Any], frames: Sequence[tuple[int, int, CodeType | None]]) -> tuple[list[Any], list[Any], list[Any]]:
    """Return who awaits whom from these tasks on, which of them have ended, and the task that each frame belongs to or None."""
    if "asyncio" not in sys.modules:
        return [], [], [None] * len(frames)
    ended = [task for task in tasks if task.done()]
    relations = _relations([task for task in tasks if not task.done()])
    return relations, ended, [_holder(*frame) for frame in frames]


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
        for each in [*_referents(link), *(inner for one in _entered(link) for inner in _referents(one))]:
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
    """Yield the times of the loop's timers that cancel one of these tasks."""
    for handle in list(getattr(loop, "_scheduled", ())):
        callback = getattr(handle, "_callback", None)
        if getattr(callback, "__self__", None) in tasks and not handle.cancelled():
            yield handle.when()


# ---- for reports --------------------------------------------------------------------------------------------


def note_stopped(event: dict[str, Any]) -> None:
    """Add to an event how many tasks stand still with each one that has stopped its loop."""
    stands: dict[int, int] = {}
    for agent in itertools.islice(event["agents"], 64):
        task = _core.task_of(agent["id"]) if agent.get("stops") else None
        if task is not None:
            stands[agent["id"]] = number = len(_asyncio().asyncio.all_tasks(task.get_loop()) - {task})
            event["reasons"].append(f"the loop of {agent['loop']} is stopped, {number:,} task{'s' * (number != 1)} with it")
    event["stands"] = stands


def await_chain(agent: dict[str, Any]) -> list[Site] | None:
    """Return the lines where a suspended task awaits, without their source, the innermost last; None for an agent that is none."""
    task = _core.task_of(agent["id"]) if agent["kind"] == "task" and not agent["stops"] else None
    if task is None:
        return None
    sites = []
    for link in links_of(task.get_coro()):
        frame = getattr(link, _FRAME[type(link)], None) if type(link) in _FRAME else None
        if frame is not None:
            code = frame.f_code
            sites.append(Site(code.co_filename, frame.f_lineno or 0, getattr(code, "co_qualname", code.co_name)))
    return sites


def start() -> None:
    """Give the core its resolver; once, at import."""
    _core.set_resolver(resolve, deadlines_of)
