"""What happens to a finding: policies in the waiting agent, reports and hooks on fastlock's own threads.

The core calls `handle` in the agent whose wait has met something, before that agent parks. It decides whether the wait
goes on or an exception takes its place, and leaves the rest to the reporting thread: text on standard error,
the JSON file, logging, hooks, and the exit that a policy asks for, in this order, for each fingerprint once.

Guards. `_inbox`: appends and pops of a deque are atomic. `_known`, `_hooks`, `_dropped`: `_mutex`, a raw lock that is never held
while anything of the user's runs. Code of the user's (log handlers, hooks) runs on a thread of its own with a
limit; one that hangs is cut off and said so. Everything here uses raw locks that were bound before any patching.
"""

from __future__ import annotations

import _thread
import atexit
import gc
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

_mutex = _thread.allocate_lock()
_known: dict[str, Finding] = {}
_dropped = 0
_hooks: list[HookHandle] = []
_inbox: deque[tuple[dict[str, Any], tuple[Site, ...], Finding | None]] = deque()
_work = _thread.allocate_lock()
_work.acquire()
_idle = _thread.allocate_lock()  # held while the reporting thread has something to do
_running = False


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
        with _mutex:
            if self in _hooks:
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
    with _mutex:
        _hooks.append(handle)
    return handle


def findings() -> FindingList:
    """Return the newest 1,000 findings since start, one for each fingerprint, with their counts; any thread."""
    with _mutex:
        return FindingList(_known.values(), _dropped)


# ---- in the waiting agent -------------------------------------------------------------------------


def handle(event: dict[str, Any]) -> BaseException | None:
    """Take an event of the core; an exception that is returned is raised in the agent instead of its wait."""
    if event["code"] == "timeout":
        return assemble.lock_timeout_from_event(event, site=_core.site)
    frame = sys._getframe(1)
    if event["code"] == "FL002":
        event["reasons"].append(_way_in(event, frame))
    stack = assemble.stack_from_frame(frame)
    policy = event["policy"] or config.current().on_deadlock
    event["policy"] = policy if event["tier"] == "proven" else "report"
    if event["policy"] != "raise":
        _post(event, stack, None)
        return None
    finding = assemble.finding_from_event(event, site=_core.site, stacks={event["closing"]: stack})
    _post(event, stack, finding)
    return DeadlockError.from_finding(finding)


def _way_in(event: dict[str, Any], frame: FrameType | None) -> str:
    """Say how an agent came to want what it holds, from the frames between the two sites."""
    held = _core.site(event["edges"][0]["held_at"])
    innermost = frame
    handlers = _signal_handlers()
    while frame is not None:
        code = frame.f_code
        if held is not None and (code.co_filename, code.co_firstlineno) == (held[0], held[3]):
            return "direct" if frame is innermost else "through a callback"
        if code in handlers:
            return "in a signal handler"
        if code.co_name == "__del__":
            return "in a finaliser"
        frame = frame.f_back
    return "direct"


def _signal_handlers() -> set[CodeType]:
    signal = sys.modules.get("signal")
    if signal is None:
        return set()
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    functions = [getattr(handler, "__func__", handler) for handler in handlers]
    return {function.__code__ for function in functions if hasattr(function, "__code__")}


def _post(event: dict[str, Any], stack: tuple[Site, ...], finding: Finding | None) -> None:
    global _running
    _inbox.append((event, stack, finding))
    with _mutex:
        start, _running = not _running, True
    if start:
        try:
            _thread.start_new_thread(_run, ())
        except RuntimeError:  # no thread to be had, or the interpreter is ending: the raw report must do
            _running = False
            return
    if _work.locked():
        try:
            _work.release()
        except RuntimeError:
            return  # another agent released it in between


# ---- on the reporting thread ------------------------------------------------------------------------


def _run() -> None:
    while True:
        _work.acquire()
        with _idle:
            while _inbox:
                event, stack, finding = _inbox.popleft()
                try:
                    _report(event, stack, finding)
                except Exception:
                    _write("fastlock: a report failed\n" + traceback.format_exc())


def _report(event: dict[str, Any], stack: tuple[Site, ...], finding: Finding | None) -> None:
    if finding is None:
        stacks = _stacks(event)
        stacks[event["closing"]] = stack
        finding = assemble.finding_from_event(event, site=_core.site, stacks=stacks)
    finding, is_new = _record(finding)
    if is_new:
        _write(f"{finding}\n")
        path = config.current().json
        if path is not None:
            try:
                jsonl.append(path, finding)
            except OSError as error:
                _write(f"fastlock: cannot append to {path}: {error.strerror}\n")
        _limited("logging", lambda: logs.emit(finding))
        _call_hooks(finding)
    policy = event["policy"]
    if callable(policy):
        _limited("on_deadlock", lambda: policy(finding))
    elif policy == "exit":
        _exit()


def _record(finding: Finding) -> tuple[Finding, bool]:
    """Count a finding under its fingerprint; a known one keeps its first facts."""
    global _dropped
    with _mutex:
        before = _known.get(finding.fingerprint)
        if before is not None:
            finding = _known[finding.fingerprint] = replace(before, count=before.count + 1)
            return finding, False
        if len(_known) >= KEPT_FINDINGS:
            del _known[next(iter(_known))]
            _dropped += 1
        _known[finding.fingerprint] = finding
        return finding, True


def _stacks(event: dict[str, Any]) -> dict[int, tuple[Site, ...]]:
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
    alive = [agent for agent in event["agents"] if agent["state"] == "alive"]
    return {agent["id"]: assemble.stack_from_frame(frames.get(agent["ident"])) for agent in alive[:64]}


def _call_hooks(finding: Finding) -> None:
    with _mutex:
        hooks = list(_hooks)
    for hook in hooks:
        if hook.wants(finding) and not _limited("on_finding", lambda hook=hook: hook(finding)):
            hook.remove()


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

    _thread.start_new_thread(run, ())
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
    if not _running or not _inbox and not _idle.locked():
        return True
    if not _idle.acquire(timeout=timeout):
        return False
    _idle.release()
    return not _inbox


def _after_fork_in_child() -> None:
    global _running, _work, _idle
    _running = False
    _inbox.clear()
    _mutex._at_fork_reinit()  # type: ignore[attr-defined]
    _work = _thread.allocate_lock()
    _work.acquire()
    _idle = _thread.allocate_lock()


def start() -> None:
    """Give the core its handler; once, at import."""
    _core.set_handler(handle)
    os.register_at_fork(after_in_child=_after_fork_in_child)
    atexit.register(flush)
