# cython: language_level=3, binding=False
"""What is told of an event loop's tasks: a lock held across an await (FL005), a loop that stands still (FL006).

Cold; under the GIL, in the thread that runs the loop, with no mutex held.
"""
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from fastlock._facts cimport agent_facts, blank_event, edge_facts, lock_facts
from fastlock._table cimport FLock, FSelf, WAIT_EXCLUSIVE, agent_id
from fastlock._tasks cimport running_loop, running_task, task_agent, task_rest

import gc
import sys

cdef enum:
    LONGEST = 256              # links of an await chain

cdef tuple KINDS = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))
# What stands between two links and has no attribute that leads on.
cdef frozenset WRAPPERS = frozenset({"async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper"})
cdef dict modules = sys.modules


cdef object behind_wrapper(object link):
    """The coroutine or generator that a wrapper of the interpreter's leads to, None for anything else."""
    if type(link).__name__ not in WRAPPERS:
        return None
    for other in gc.get_referents(link):
        if any([hasattr(other, frame) for frame, _ in KINDS]) or type(other).__name__ in WRAPPERS:
            return other
    return None


cdef list await_frames(object task):
    """The frames of a suspended task, the outermost first: what it awaits, what that awaits, and so on."""
    cdef int i
    frames = []
    link = task.get_coro()
    for i in range(LONGEST):
        if link is None:
            break
        following = None
        for frame_name, next_name in KINDS:
            frame = getattr(link, frame_name, None)
            if frame is not None:
                frames.append(frame)
                following = getattr(link, next_name, None)
                break
        link = following if following is not None else behind_wrapper(link)
    return frames


cdef tuple place_of(object frame):
    code = frame.f_code
    return (code.co_filename, frame.f_lineno or code.co_firstlineno, getattr(code, "co_qualname", code.co_name))


def await_chain(task):
    """(file, line, function) of each frame of a suspended task, the outermost first; [] where it has none."""
    return [place_of(frame) for frame in await_frames(task)]


cdef dict await_event(FLock* L, object task, uint32_t site, list frames):
    """FL005. `frames` are the coroutines' that the task ran in when it took the lock at `site`, the innermost first: the innermost
    of them that it is still in is the one whose await the lock is held across."""
    cdef FSelf* t = task_agent(<PyObject*>task)
    cdef uint64_t number = agent_id(t)
    cdef dict event = blank_event("FL005", t)
    cdef dict lock = lock_facts(L, {}, {})
    cdef dict edge = edge_facts(number, L, NULL, site, 0, WAIT_EXCLUSIVE, 0, -1)
    try:
        chain = await_frames(task)
        suspended = [frame for frame in frames if frame in chain] or chain
        lock["owner"], lock["held_at"] = number, site       # in the table it is the thread
        edge["wanted_at"], edge["what"] = place_of(suspended[0]) if suspended else 0, "await"
        event.update(tier="proven", policy="report", agents=[agent_facts(t)], locks=[lock], edges=[edge],
                     stacks={number: [place_of(frame) for frame in chain]})
    finally:
        task_rest(t)
    return event


cdef object tell_loop(dict event, FSelf* me):
    """Makes the event of a thread's wait one of the task that waits in it, and adds how many tasks stand still."""
    cdef PyObject* task = running_task()
    cdef PyObject* loop = running_loop()
    cdef FSelf* t
    if task != NULL:
        kept = <object>task
        t = task_agent(task)
        try:
            rename(event, agent_id(me), agent_facts(t), agent_facts(me))
        finally:
            task_rest(t)
    asyncio = modules.get("asyncio")
    if loop != NULL and asyncio is not None:
        count = len(asyncio.all_tasks(<object>loop))
        event["reasons"].append(f"this loop is stopped, and {count:,} task{'' if count == 1 else 's'} with it")


cdef object rename(dict event, uint64_t number, dict task, dict thread):
    """The waiter is the task; where its thread is the holder as well, it stays what it is there."""
    event["closing"] = task["id"]
    event["agents"] = [task, *[agent for agent in event["agents"] if agent["id"] != number]]
    event["edges"][0]["agent"] = task["id"]
    for lock in event["locks"]:
        lock["waiters"] = [task["id"] if waiter == number else waiter for waiter in lock["waiters"]]
    if any([edge["agent"] == number for edge in event["edges"]]):
        event["agents"].append(thread)
