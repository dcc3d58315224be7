"""Code of the user's (log handlers, hooks, policies), each call on a thread of its own with a limit: fastlock must not hang because it does.

Guard: none but the reporting thread's own order; `_hung` is changed by single atomic calls. The locks here are raw, bound before any patching.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _thread

from fastlock import assemble, stderr
from fastlock.findings import Finding
from fastlock.tally import tally

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

HOOK_LIMIT_S = 5.0
_FAULTS = {_signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL}
_hung: dict[int, list[str]] = {}  # what each sink has missed that has not returned: fingerprints, by its id
_signals: set[int] | None = None  # that are blocked where guests run: as in the program's thread that started fastlock's


def block_signals() -> None:
    """Have the calling thread, one of fastlock's, take no signal of the program's; guests take those that the program had left open before."""
    global _signals
    _signals = _take_none()


def _take_none() -> set[int]:
    before: set[int] = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals() - _FAULTS)
    return before


def forget() -> None:
    """In the child of a fork: the threads of those who have not returned are not here."""
    _hung.clear()


def unless_hung(what: str, sink: Callable[[Finding], Any], finding: Finding) -> None:
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
            stderr.write(f"fastlock: {what} has returned and is used again; findings that it missed: {len(missed)}\n")

    missed = _hung.get(key)
    if missed is not None:
        missed.append(finding.fingerprint)
        tally.missed_findings += 1
        return
    returned = _thread.allocate_lock()
    returned.acquire()
    if not limited(what, call):
        _hung[key] = []
        if returned.acquire(blocking=False):  # just now
            back()


def limited(what: str, call: Callable[[], Any], limit_s: float = HOOK_LIMIT_S) -> bool:
    """Run code of the user's on a thread of its own; False where it has not come back in time."""
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            call()
        except BaseException:  # also SystemExit: a hook must not end a thread of ours silently
            stderr.write(f"fastlock: {what} failed\n{assemble.failure()}")
        finally:
            _take_none()  # the thread is there for a moment yet
            done.release()

    def begin() -> None:
        if _signals is not None:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, _signals)
        run()

    try:
        _thread.start_new_thread(begin, ())
    except RuntimeError:  # none to be had, as when the interpreter ends: then here, where it holds up reports alone
        run()
    if done.acquire(timeout=limit_s):
        return True
    tally.hooks_cut_off += 1
    stderr.write(f"fastlock: {what} has not returned in {limit_s:g} s and is left behind\n")
    return False
