"""What happens to a finding: policies in the waiting agent, reports and hooks on fastlock's own threads.

The core calls `handle` in the agent whose wait has met something, before that agent parks. It decides whether the wait
goes on or an exception takes its place, and leaves the rest to the reporting thread: text on standard error,
the JSON file, logging, hooks, and the exit that a policy asks for, in this order, for each fingerprint once.

Guards. No mutex: any allocation may run a finaliser, and any bytecode a signal handler, that waits for a lock of a thread
which is on its way in here. What several threads change is changed by single atomic calls: `_inbox`, `_tickets` (deques) and
`_hooks` (a list), `_hung` (a dict); `_known` and `_dropped` are written by the reporting thread alone. Code of the user's (log handlers,
hooks) runs on a thread of its own with a limit; one that hangs is cut off and said so, a hook for good, logging and a
policy until they return. The locks here are raw ones, bound
before any patching.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import functools
import gc
import itertools
import os
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import CodeType, FrameType
from typing import Any

from fastlock import _core, assemble, config
from fastlock.errors import DeadlockError
from fastlock.findings import Finding, Site
from fastlock.reporting import jsonl, logs, text

KEPT_FINDINGS = 1000
HOOK_LIMIT_S = 5.0
FLUSH_LIMIT_S = 1.0
EXIT_STATUS = 3

Hook = Callable[[Finding], Any]

_known: dict[str, Finding] = {}
_dropped = 0
_hung: dict[int, list[str]] = {}  # what each sink has missed that has not returned: fingerprints, by its id
_hooks: list[HookHandle] = []
# An event with the waiting agent's stack and, where it was made there, the finding; or the lock of somebody who waits
# until all before it is reported.
_inbox: deque[tuple[dict[str, Any], tuple[Site, ...], Finding | None] | _thread.LockType] = deque()
_tickets = deque([None])  # who takes the only one starts the reporting thread
_work = _thread.allocate_lock()
_work.acquire()


class FindingList(tuple[Finding, ...]):
    """The findings kept, oldest first; `dropped` counts older ones that made room."""

    dropped: int

    def __new__(cls, findings: Iterable[Finding] = (), dropped: int = 0) -> FindingList:
        """Return the tuple with its count."""
        self = super().__new__(cls, findings)
        self.dropped = dropped
        return self


class HookHandle:
    """What on_finding returns: remove() ends the calls."""

    def __init__(self, callback: Hook, codes: frozenset[str] | None) -> None:
        self._callback = callback
        self._codes = codes

    def remove(self) -> None:
        """Call the hook no more; a second time does nothing; any thread."""
        with contextlib.suppress(ValueError):
            _hooks.remove(self)

    def wants(self, finding: Finding) -> bool:
        """Tell whether the hook asked for this code."""
        return self._codes is None or finding.code in self._codes

    def __call__(self, finding: Finding) -> None:
        """Call the hook."""
        self._callback(finding)


def on_finding(callback: Hook, codes: Iterable[str] | None = None) -> HookHandle:
    """Have `callback(finding)` called for each new finding, on a thread of fastlock's; at most 5 s, then it is cut off.

    `codes` limits it to some codes, such as ("FL001", "FL002"). TypeError for what cannot be called. Any thread.
    """
    if not callable(callback):
        raise TypeError(f"on_finding needs a callable, not {type(callback).__name__}")
    if isinstance(codes, str):
        codes = (codes,)
    handle = HookHandle(callback, None if codes is None else frozenset(codes))
    _hooks.append(handle)
    return handle


def findings() -> FindingList:
    """Return the newest 1,000 findings since start, one for each fingerprint, with their counts; any thread."""
    while True:
        try:
            return FindingList(_known.values(), _dropped)
        except RuntimeError:  # the reporting thread has added one meanwhile
            continue


# ---- in the waiting agent -------------------------------------------------------------------------


def handle(event: dict[str, Any]) -> BaseException | None:
    """Take an event of the core; an exception that is returned is raised in the agent instead of its wait."""
    if event["code"] == "timeout":
        return assemble.lock_timeout_from_event(event, site=_core.site)
    frame = sys._getframe().f_back  # none where the thread runs nothing but lock.acquire
    if event["code"] == "FL002":
        event["reasons"].append(_way_in(event, frame))
    stack = assemble.stack_from_frame(frame)
    policy = event["policy"] or config.current().on_deadlock
    event["policy"] = policy if event["tier"] == "proven" else "report"
    if event["policy"] != "raise":
        _post(event, stack, None)
        return None
    # Everybody's stacks now, for the exception lets them go on.
    finding = assemble.finding_from_event(event, site=_core.site, stacks={**stacks_of(event), event["closing"]: stack})
    _post(event, stack, finding)
    return DeadlockError.from_finding(finding)


def _way_in(event: dict[str, Any], frame: FrameType | None) -> str:
    """Say how an agent came to want what it holds, from the frames between the one that wants it and the one that holds it."""
    edge = event["edges"][0]
    held = _core.site(edge["held_at"])
    holder = None if held is None else (held[0], held[3])
    handlers, finalisers = _signal_handlers(), _finalisers()
    between: list[CodeType] = []
    way = ""
    while frame is not None:
        code = frame.f_code
        if between and (code.co_filename, code.co_firstlineno) == holder:
            # Without another function in between it calls itself.
            return way or ("direct" if set(between) == {code} else "through a callback")
        if code in handlers:
            way = way or "in a signal handler"
        elif code.co_name == "__del__" or code in finalisers:
            way = way or "in a finaliser"
        between.append(code)
        frame = frame.f_back
    alone = bool(between) and (between[0].co_filename, between[0].co_firstlineno) == holder
    return "direct" if alone else way or "direct"


def _signal_handlers() -> set[CodeType]:
    signal = sys.modules.get("signal")
    if signal is None:
        return set()
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    functions = [getattr(handler, "__func__", handler) for handler in handlers]
    return {function.__code__ for function in functions if hasattr(function, "__code__")}


def _finalisers() -> set[CodeType]:
    weakref = sys.modules.get("weakref")
    return set() if weakref is None else {weakref.finalize.__call__.__code__}


def _post(event: dict[str, Any], stack: tuple[Site, ...], finding: Finding | None) -> None:
    _inbox.append((event, stack, finding))
    _wake_reporter()


def _wake_reporter() -> None:
    if _take_ticket():
        try:
            _thread.start_new_thread(_run, ())
        except RuntimeError:  # no thread to be had, or the interpreter is ending: the raw report must do
            _tickets.append(None)
            return
    if _work.locked():
        with contextlib.suppress(RuntimeError):  # another agent released it in between
            _work.release()


def _take_ticket() -> bool:
    try:
        _tickets.pop()
    except IndexError:
        return False
    return True


# ---- on the reporting thread ------------------------------------------------------------------------


def _run() -> None:
    while True:
        _work.acquire()
        while _inbox:
            item = _inbox.popleft()
            if not isinstance(item, tuple):
                item.release()
                continue
            try:
                _report(*item)
            except Exception:
                _write("fastlock: a report failed\n" + traceback.format_exc())


def _report(event: dict[str, Any], stack: tuple[Site, ...], finding: Finding | None) -> None:
    if finding is None:
        stacks = stacks_of(event)
        stacks[event["closing"]] = stack
        finding = assemble.draft_from_event(event, site=_core.site, stacks=stacks)
    if finding.fingerprint not in _known:
        _write(f"{finding}\n")
        finding = finding.whole()  # of a long circle, those whom the text only counts
    finding, is_new = _record(finding)
    if is_new:
        path = config.current().json
        if path is not None:
            try:
                jsonl.append(path, finding)
            except OSError as error:
                _write(f"fastlock: cannot append to {path}: {error.strerror}\n")
        _unless_hung("logging", logs.emit, finding)
        _call_hooks(finding)
    policy = event["policy"]
    if callable(policy):
        _unless_hung("on_deadlock", policy, finding)
    elif policy == "exit":
        _exit()


def _record(finding: Finding) -> tuple[Finding, bool]:
    """Count a finding under its fingerprint; a known one keeps its first facts."""
    global _dropped
    before = _known.get(finding.fingerprint)
    if before is not None:
        finding = _known[finding.fingerprint] = replace(before, count=before.count + 1)
        return finding, False
    if len(_known) >= KEPT_FINDINGS:
        del _known[next(iter(_known))]
        _dropped += 1
    _known[finding.fingerprint] = finding
    return finding, True


def stacks_of(event: dict[str, Any]) -> dict[int, tuple[Site, ...]]:
    """Where the finding's threads stand now.

    Through 3.11 sys._current_frames() deadlocks where its own allocations start a collection whose finalisers
    make a thread, so none starts meanwhile.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        frames = sys._current_frames()
    finally:
        if enabled:
            gc.enable()
    first = itertools.islice(event["agents"], 64)
    alive = [agent for agent in first if agent["state"] == "alive"]
    return {agent["id"]: assemble.stack_from_frame(frames.get(agent["ident"])) for agent in alive}


def _call_hooks(finding: Finding) -> None:
    for hook in list(_hooks):
        if hook.wants(finding) and not _limited("on_finding", functools.partial(hook, finding)):
            hook.remove()


def _unless_hung(what: str, sink: Callable[[Finding], Any], finding: Finding) -> None:
    """Give the finding to a sink, unless that still has an earlier one: nobody waits for it twice, and it says what it missed."""
    key = id(sink)  # as long as it hangs, its thread keeps it

    def call() -> None:
        try:
            sink(finding)
        finally:
            returned.release()
            back()

    def back() -> None:
        missed = _hung.pop(key, None)
        if missed:
            _write(f"fastlock: {what} has returned and is used again; findings that it missed: {len(missed)}\n")

    missed = _hung.get(key)
    if missed is not None:
        missed.append(finding.fingerprint)
        return
    returned = _thread.allocate_lock()
    returned.acquire()
    if not _limited(what, call):
        _hung[key] = []
        if returned.acquire(blocking=False):  # just now
            back()


def _limited(what: str, call: Callable[[], Any], limit_s: float = HOOK_LIMIT_S) -> bool:
    """Run code of the user's on a thread of its own; False where it has not come back in time."""
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            call()
        except BaseException:  # also SystemExit: a hook must not end a thread of ours silently
            _write(f"fastlock: {what} failed\n{traceback.format_exc()}")
        finally:
            done.release()

    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:  # none to be had, as when the interpreter ends: then here, where it holds up reports alone
        run()
    if done.acquire(timeout=limit_s):
        return True
    _write(f"fastlock: {what} has not returned in {limit_s:g} s and is left behind\n")
    return False


def _exit() -> None:
    """End the process with status 3. A stream may be locked by a thread of the circle, so flushing has a limit."""
    _limited("flushing", lambda: [stream.flush() for stream in (sys.stdout, sys.stderr) if stream], FLUSH_LIMIT_S)
    os._exit(EXIT_STATUS)


def _write(message: str) -> None:
    data = message.encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[os.write(2, data) :]
    except OSError:
        return  # standard error is closed: logging and hooks still get it


# ---- start, end, fork ----------------------------------------------------------------------------------


def flush(timeout: float = FLUSH_LIMIT_S) -> bool:
    """Wait until what has been found so far is reported, at most `timeout` seconds; False where it is not."""
    if _tickets:
        return True  # nothing has been found
    done = _thread.allocate_lock()
    done.acquire()
    _inbox.append(done)
    _wake_reporter()
    return done.acquire(timeout=timeout)


def _after_fork_in_child() -> None:
    global _inbox, _tickets, _work
    _inbox, _tickets = deque(), deque([None])
    _work = _thread.allocate_lock()
    _work.acquire()
    _hung.clear()  # their threads are not here


def start() -> None:
    """Give the core its handler; once, at import."""
    _core.set_handler(handle)
    os.register_at_fork(after_in_child=_after_fork_in_child)
    atexit.register(flush)
