"""What happens to a finding: policies in the waiting agent, reports and hooks on fastlock's own threads.

The core calls `handle` in the agent whose wait has met something, before that agent parks. It decides whether the wait
goes on or an exception takes its place, and leaves the rest to the reporting thread: text on standard error,
the JSON file, logging, hooks, and the exit that a policy asks for, in this order, for each fingerprint once.

Guards. No mutex: any allocation may run a finaliser, and any bytecode a signal handler, that waits for a lock of a thread
which is on its way in here. What several threads change is changed by single atomic calls: `_inbox` and `_tickets` (deques);
`_known`, `_predictions`, `_pace`, `_suppressed_told`, what is suppressed, counted or stands are written by the reporting thread
alone, which takes no signal. Code of the user's (log handlers, hooks) runs as a guest, with a limit; one that hangs is cut off and
said so, a hook for good, logging and a policy until they return. The locks here are raw, bound before any patching.
"""

from __future__ import annotations

import _thread
import atexit
import os
import sys
import time

from fastlock import (
    _core, _delays, _last_thread, _late, _overdue, _stuck, assemble, circles, config, guests, hooks, related, resting, rooted, stalls, standing, stderr,
    suppression, suspended, tabled, ways)
from fastlock.errors import DeadlockError, LockOrderError
from fastlock.findings import Finding, Site
from fastlock.kept import FindingList, KeptFindings
from fastlock.lean import deque, replace
from fastlock.pace import Pace
from fastlock.reporting import logs, text, trees
from fastlock.tally import tally

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

FLUSH_LIMIT_S = 1.0
PATIENCE_S = 0.05  # that a prediction waits for what may be happening already, and is then told first
EXIT_STATUS = 3
MOST_BEFORE = 250  # waiting agents up to which it costs the report of a deadlock next to nothing to tell who is behind it

_known = KeptFindings()
_pace = Pace()
_suppressed_told = ""
_last_words: list[Callable[[], Any]] = []
# An event with the waiting agent's stack and, where it was made there, the finding; or the lock of somebody who waits
# until all before it is reported.
_inbox: deque[tuple[dict[str, Any], tuple[Site, ...], Finding | None] | _thread.LockType] = deque()
_predictions: deque[tuple[dict[str, Any], tuple[Site, ...], Finding | None]] = deque()
_tickets = deque([None])  # who takes the only one starts the reporting thread
_work = _thread.allocate_lock()
_work.acquire()
_number = 0  # the system's, of the reporting thread
_leaves = False  # it is to end: somebody forks


def findings() -> FindingList:
    """Return the newest 1,000 findings since start, one for each fingerprint, with their counts; any thread."""
    return _known.all()


# ---- in the waiting agent -------------------------------------------------------------------------


def handle(event: dict[str, Any]) -> BaseException | None:
    """Take an event of the core; an exception that is returned is raised in the agent instead of its wait."""
    if event["code"] == "timeout":
        suspended.name_holder(event)
        return assemble.lock_timeout_from_event(event, site=_core.site)
    frame = sys._getframe().f_back  # none where the thread runs nothing but lock.acquire
    if event["code"] in suppression.CODES:
        return _handle_prediction(event, assemble.stack_from_frame(frame))
    if event["code"] == "FL002" and event["locks"][0]["kind"] != "Result":
        event["reasons"].append(ways.way_in(event, frame))
    suspended.note_tasks(event)
    stack = standing.stack_of_closing(event, frame)
    policy = event["policy"] or config.current().on_deadlock
    event["policy"] = policy if event["tier"] == "proven" else "report"
    if event["policy"] != "raise":
        _post(event, stack, None)
        return None
    # Everybody's stacks now, for the exception lets them go on.
    finding = assemble.finding_from_event(event, site=_core.site, stacks={**standing.stacks_of(event), event["closing"]: stack})
    finding = replace(related.advised(finding, _known.all()), refused="DeadlockError")
    _post(event, stack, finding)
    return DeadlockError.from_finding(finding)


def _handle_prediction(event: dict[str, Any], stack: tuple[Site, ...]) -> BaseException | None:
    """Take an event about an acquire that is still to come, and would not block for its own sake."""
    policy = event["policy"] or config.current().on_inversion
    event["policy"] = "report"  # nothing but an exception, which is raised here or not at all
    if policy != "raise" or event["tier"] not in ("high", "proven"):
        _post(event, stack, None)
        return None
    finding = assemble.finding_from_event(event, site=_core.site, stacks={event["closing"]: stack})
    refused = not suppression.matches(finding)
    if refused:
        finding = replace(related.advised(finding, _known.all()), refused="LockOrderError")
    _post(event, stack, finding)
    return LockOrderError.from_finding(finding) if refused else None


def _post(event: dict[str, Any], stack: tuple[Site, ...], finding: Finding | None) -> None:
    _inbox.append((event, stack, finding))
    _wake_reporter()


def _wake_reporter() -> None:
    if _take_ticket():
        try:
            _thread.start_new_thread(_run, ())
        except RuntimeError:  # no thread to be had, or Python starts none as it waits for those that there are
            if sys.is_finalizing() or not _last_thread.start(_run):
                _tickets.append(None)  # the raw report must do
                return
    if _work.locked():
        try:
            _work.release()
        except RuntimeError:
            return  # another agent released it in between


def _take_ticket() -> bool:
    try:
        _tickets.pop()
    except IndexError:
        return False
    return True


# ---- on the reporting thread ------------------------------------------------------------------------


def _run() -> None:
    global _number
    _number = _thread.get_native_id()
    _stuck.own_thread(True)
    guests.block_signals()
    while True:
        if not _work.acquire(timeout=_patience_s()):
            _report_predictions()
        if _leaves:
            break
        _report_late_waits()
        _check_loops()
        _report_stalls()
        if _pace.due_s() == 0:
            stderr.write(_pace.told())
        while _inbox:
            item = _inbox.popleft()
            if not isinstance(item, tuple):
                _report_predictions()
                stderr.write(_pace.told())
                item.release()
            elif item[0]["code"] in suppression.CODES:
                _predictions.append(item)
            else:
                _try_to_report(*item)
    _stuck.own_thread(False)
    _tickets.append(None)
    if not _leaves:
        _wake_reporter()  # the fork was over before this thread had gone


def _patience_s() -> float:
    """Return how long to wait for work before something else is due; -1 for ever."""
    due_s = _pace.due_s()
    waits = [max(0, due_ns - time.monotonic_ns()) / 1e9 for due_ns in (_late.due_ns(), _overdue.due_ns(), resting.due_ns()) if due_ns >= 0]
    if due_s is not None:
        waits.append(due_s)
    if _predictions:
        waits.append(PATIENCE_S)
    return min(waits, default=-1)


def _report_late_waits() -> None:
    """Report what tasks have waited for too long, who have no thread that could do it."""
    if not 0 <= _late.due_ns() <= time.monotonic_ns():
        return
    for event in _late.late_waits():
        _report_of_others(event)


def _check_loops() -> None:
    """See which event loops have nothing to run, and let go of stalls of those that have run again."""
    if 0 <= resting.due_ns() <= time.monotonic_ns():
        try:
            resting.check()
        except Exception:  # of a loop or a task of the program's own
            stderr.write(f"fastlock: looking at event loops failed\n{assemble.failure()}")
    circles.forget()


def _report_stalls() -> None:
    """Look for stalls, as somebody has waited for too long; once for each victim."""
    if not 0 <= _overdue.due_ns() <= time.monotonic_ns():
        return
    late_ns = _overdue.begins()
    if late_ns < 0:
        return
    try:
        found = stalls.news(late_ns)
    except Exception:  # of a queue of the program's own
        found = []
        stderr.write(f"fastlock: looking for stalls failed\n{assemble.failure()}")
    for event in found:
        _report_of_others(event)
    _overdue.ends(late_ns, resting.some())


def _report_of_others(event: dict[str, Any]) -> None:
    """Report what has been found here: no agent of it runs, so there is none to raise in."""
    policy = event["policy"] or config.current().on_deadlock
    event["policy"] = policy if event["tier"] == "proven" and policy != "raise" else "report"
    _try_to_report(event, (), None)


def _report_predictions() -> None:
    while _predictions:
        _try_to_report(*_predictions.popleft())


def _try_to_report(event: dict[str, Any], stack: tuple[Site, ...], finding: Finding | None) -> None:
    try:
        _report(event, stack, finding)
    except Exception:
        stderr.write(f"fastlock: a report failed\n{assemble.failure()}")


def _report(event: dict[str, Any], stack: tuple[Site, ...], finding: Finding | None) -> None:
    late = False
    if finding is None:
        finding = _draft(event, stack)
        late = finding.code in trees.ENDS and _delays.waiting()[0] > MOST_BEFORE
        if _known.is_news(finding):
            finding = _in_context(finding if late else _rooted(finding, event))
    if suppression.matches(finding):
        suppression.keep(finding.whole())
        return
    is_news = _known.is_news(finding)
    shown = is_news and _pace.admits(finding.code)
    if shown:
        stderr.write(f"{_page(finding)}\n{_suppressed()}")
    if is_news and late:
        finding = _rooted(finding, event)
        stderr.write(trees.afterwards(finding) if shown else "")
    circle = circles.circle_of(event, finding)
    again = circle is not None and circles.is_known(circle)
    if not again:
        tally.count(finding.code)
    if is_news:
        finding = finding.whole()  # of a long circle, those whom the text only counts
    finding, _ = _known.record(finding, again)
    tabled.show(_known.all())
    if circle is not None:
        circles.remember(circle)  # after the finding: who sees that the process is not well finds out why
    if is_news:
        _append(finding)
    if shown:
        guests.unless_hung("logging", logs.emit, finding)
        _call_hooks(finding)
    policy = event["policy"]
    if callable(policy):
        guests.unless_hung("on_deadlock", policy, finding)
    elif policy == "exit":
        _report_predictions()
        stderr.write(_pace.told())
        _exit()


def _draft(event: dict[str, Any], stack: tuple[Site, ...]) -> Finding:
    # Where the others of an inversion stand now has nothing to do with it.
    stacks = {} if event["code"] in suppression.CODES else standing.stacks_of(event)
    if stack:
        stacks[event["closing"]] = stack
    return assemble.draft_from_event(event, site=_core.site, stacks=stacks | assemble.stacks_in(event))


def _append(finding: Finding) -> None:
    """Write it into the JSON file, where there is one."""
    path = config.current().json
    if path is not None:
        from fastlock.reporting import jsonl  # imported when the file was named

        try:
            jsonl.append(path, finding)
        except OSError as error:
            stderr.write(f"fastlock: cannot append to {path}: {error.strerror}\n")


def _in_context(finding: Finding) -> Finding:
    """A finding that is news, as what else is known makes it."""
    if finding.code not in related.CIRCLES:
        return finding
    known: tuple[Finding, ...] = _known.all()
    if finding.code == "FL001":  # it comes first, and knows how often each order was taken from what waits behind it
        known += tuple(ready or assemble.draft_from_event(event, site=_core.site) for event, _, ready in _predictions)
    return related.advised(finding, known)


def _rooted(finding: Finding, event: dict[str, Any]) -> Finding:
    """The finding with whom everybody in it waits for in the end; without, where that cannot be had, for the report must not be lost."""
    if finding.code not in rooted.CODES:
        return finding
    try:
        return rooted.Rooting(_core.table(), _known.all()).rooted(finding, event)
    except Exception:
        stderr.write(f"fastlock: the root of a report cannot be told\n{assemble.failure()}")
        return finding


def _page(finding: Finding) -> str:
    """The report, or one line for the prediction of what has been reported as a deadlock."""
    deadlock = related.deadlock_of(finding, _known.all())
    if deadlock is None:
        return text.render(finding)
    ours, theirs = finding.fingerprint[:6], deadlock.fingerprint[:6]
    return f"{finding.code} {finding.title}: the orders of deadlock {theirs}, which has happened (report {ours})"


def _suppressed() -> str:
    """Say how many findings are suppressed, where that has changed since it was said last."""
    global _suppressed_told
    before, _suppressed_told = _suppressed_told, suppression.told()
    return "" if _suppressed_told == before else f"fastlock: {_suppressed_told}\n"


def _call_hooks(finding: Finding) -> None:
    for hook in hooks.wanting(finding):
        if not guests.limited("on_finding", lambda: hook(finding)):
            hook.remove()


def before_exit(call: Callable[[], Any]) -> None:
    """Have `call()` called on a thread of fastlock's before a policy ends the process; at most for a second."""
    _last_words.append(call)


def _exit() -> None:
    """End the process with status 3. A stream may be locked by a thread of the circle, so flushing has a limit."""
    for call in _last_words:
        guests.limited("the summary", call, FLUSH_LIMIT_S)
    guests.limited("flushing", lambda: [stream.flush() for stream in (sys.stdout, sys.stderr) if stream], FLUSH_LIMIT_S)
    os._exit(EXIT_STATUS)


def warn(word: str) -> None:
    """Say something that is no finding on standard error, and to logging where the program has that; runs its handlers."""
    stderr.write(f"fastlock: {word}\n")
    logs.warn(word)


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


def _before_fork() -> None:
    """End the reporting thread where it has nothing to do: the interpreter warns who forks beside other threads, and those are to be the program's."""
    global _leaves
    _leaves = not (_tickets or _inbox or _predictions) and _thread.get_native_id() != _number
    if _leaves:
        _wake_reporter()
        stalls.wait_a_moment(lambda: bool(_tickets) and not os.path.exists(f"/proc/self/task/{_number}"))


def _after_fork_in_parent() -> None:
    global _leaves
    _leaves = False
    if _inbox or _patience_s() >= 0:
        _wake_reporter()


def _after_fork_in_child() -> None:
    global _inbox, _leaves, _number, _pace, _predictions, _tickets, _work
    _number, _leaves = 0, False
    _inbox, _predictions, _tickets = deque(), deque(), deque([None])
    _pace = Pace()
    _work = _thread.allocate_lock()
    _work.acquire()
    guests.forget()


def start() -> None:
    """Give the core its handler; once, at import."""
    _core.set_handler(handle)
    suspended.start()
    _late.set_waker(_wake_reporter)
    _overdue.set_waker(_wake_reporter)
    resting.start(_wake_reporter)
    config.observe(lambda settings: _late.look_again())
    config.observe(lambda settings: resting.look_again())
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
    atexit.register(flush)
