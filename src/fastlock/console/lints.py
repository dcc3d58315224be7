"""Lints: what in the last readings looks wrong though nothing is stuck for good, each with what to do about it.

Each is a function of what is seen, and says nothing about a healthy program, busy or idle: only waits for locks and permits count, never those for
events and conditions, in which workers rest. The thresholds are below; docs/console.md has them too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from fastlock.console.history import Queue, Reading
from fastlock.console.names import LOCKS, Names, place
from fastlock.console.seen import LIVE, Agent, Lock, Seen, Target, Wait
from fastlock.console.sleeping import Sleep
from fastlock.reporting import duration, printable

CONVOY_WAITERS = 8  # that stand in the queue of a convoy in every reading ...
CONVOY_S = 2.0  # ... for at least so long
CONVOY_READINGS = 4
CONVOY_OWNERS = 3  # who had it one after another meanwhile: else it is one long hold
CONTENDED_S = 5.0  # for which somebody has waited in every reading
CONTENDED_READINGS = 8
CONTENDED_TURNS = 3  # waits that were the oldest one after another: the lock goes round
LONG_HOLD_S = 5.0  # that somebody waits for a lock which one owner keeps
STARVING_S = 2.0  # that a writer waits while readers come in after it
LOOP_BLOCK_S = 0.1  # that a loop's thread waits for a lock; FL006 has the same limit
SLEEPING_S = 2.0  # that somebody waits without a timeout for who sleeps



class Lint(NamedTuple):
    """One observation: its kind, what it is about, what is seen, for how long, and what to do."""

    kind: str
    target: Target
    about: str
    what: str
    age_s: float
    fix: str


class Kind(NamedTuple):
    """A kind of lint: what it is called, and what it means."""

    title: str
    meaning: str


KINDS: Mapping[str, Kind] = {
    "loop-blocked": Kind("event loop blocked", "The thread of an event loop waits for a synchronous lock: no task of that loop runs meanwhile."),
    "lock-across-await": Kind("lock across await", "A task keeps a synchronous lock while it is suspended; the next task that wants it stops the whole loop."),
    "owner-sleeps": Kind("owner sleeps", "Somebody waits without a timeout for a lock whose owner sleeps in the kernel, in something that may take any time."),
    "long-hold": Kind("long hold", "One owner keeps a lock for seconds while others wait for it."),
    "starving-writer": Kind("starving writer", "A writer waits while readers that came later are let in before it."),
    "convoy": Kind("lock convoy", "Many queue for one lock that changes hands all the time: the work is done one by one, and most of the time is spent in the queue."),
    "always-contended": Kind("always contended", "In every reading somebody waited for the lock, though it goes round: it is a bottleneck."),
}

Asleep = Callable[[int, int], "Sleep | None"]


def lints(seen: Seen, readings: Sequence[Reading], names: Names, asleep: Asleep) -> list[Lint]:
    """Return what is to be said of one process, the most urgent kind first; linear in its waits and the readings of what is waited for.

    ``asleep`` tells what a thread (process, thread id) sleeps in; it is asked of owners only whom somebody has waited for long.
    """
    if seen.state != LIVE or not (seen.waits or seen.findings):
        return []
    judge = _Judge(seen, readings, names, asleep)
    found = [*judge.loops(), *judge.across_await(), *judge.sleeping, *judge.long_holds(), *judge.writers(), *judge.busy()]
    order = list(KINDS)
    return sorted(_grouped(found, seen), key=lambda lint: (order.index(lint.kind), -lint.age_s))


def _grouped(found: Sequence[Lint], seen: Seen) -> list[Lint]:
    """Return one lint for each class and kind, the one that lasts longest: of a thousand locks of one class one says it all."""
    groups: dict[tuple[str, object], list[Lint]] = {}
    for lint in found:
        lock = seen.locks.get(int(lint.target.key)) if lint.target.kind == "lock" else None
        groups.setdefault((lint.kind, lint.target if lock is None else lock.lock_class), []).append(lint)
    told = []
    for (_, of), lints_of_it in groups.items():
        lint, more = max(lints_of_it, key=lambda each: each.age_s), len(lints_of_it) - 1
        others = f"{more:,} more {'lock' if more == 1 else 'locks'} of class {printable(str(of))}"
        told.append(lint if not more else lint._replace(what=f"{lint.what}; the same of {others}"))
    return told


@dataclass
class _Judge:
    seen: Seen
    readings: Sequence[Reading]
    names: Names
    asleep: Asleep

    # ---- what they have in common

    @cached_property
    def queues(self) -> dict[int, list[Wait]]:
        """By lock the waits for it, the oldest first."""
        queues: dict[int, list[Wait]] = {}
        for wait in self.seen.waits:
            lock = self.seen.locks.get(wait.lock)
            if lock is not None and lock.kind in LOCKS:
                queues.setdefault(wait.lock, []).append(wait)
        for waits in queues.values():
            waits.sort(key=lambda wait: wait.since_ns)
        return queues

    @cached_property
    def waiting(self) -> dict[int, Wait]:
        """By agent its wait, the innermost."""
        waiting: dict[int, Wait] = {}
        for wait in self.seen.whole_waits:
            waiting.setdefault(wait.agent, wait)
        return waiting

    def age_s(self, wait: Wait) -> float:
        return max(0, self.seen.now_ns - wait.since_ns) / 1e9

    def lint(self, kind: str, target: tuple[str, int | str], about: str, what: str, age_s: float, fix: str) -> Lint:
        return Lint(kind, Target(target[0], self.seen.pid, target[1]), about, what, age_s, fix)

    def run(self, lock: int) -> list[tuple[int, Queue]]:
        """Return the last readings, as many as there are without a gap, in which somebody waited for the lock."""
        found: list[tuple[int, Queue]] = []
        for reading in reversed(self.readings):
            queue = reading.queues.get(lock)
            if queue is None:
                break
            found.append((reading.now_ns, queue))
        return found[::-1]

    def kept_by_one(self, lock: Lock, since_ns: int) -> bool:
        """Tell whether no reading since then has seen another owner."""
        return all(queue.owner == lock.owner for now_ns, queue in self.run(lock.id) if now_ns >= since_ns)

    # ---- the lints

    def loops(self) -> Iterator[Lint]:
        """Loops whose thread waits for a lock."""
        tasks: dict[int | None, int] = {}
        for task in self.seen.agents.values():
            if task.kind == "task" and task.native_id is not None:
                tasks[task.native_id] = tasks.get(task.native_id, 0) + 1
        told = {edge for finding in self.seen.findings if finding.get("code") == "FL006" for edge in _threads_in(finding)}
        for lock, waits in self.queues.items():
            for wait in waits:
                agent = self.seen.agents.get(wait.agent)
                if agent is None or agent.kind != "thread" or self.age_s(wait) < LOOP_BLOCK_S:
                    continue
                if agent.native_id in tasks or (agent.native_id, lock) in told:
                    yield self._loop(agent, wait, tasks.get(agent.native_id, 0))

    def _loop(self, agent: Agent, wait: Wait, tasks: int) -> Lint:
        name, lock = self.names.agent(agent.id), self.names.lock(wait.lock)
        stand = f"; at least {tasks:,} of its tasks {'stands' if tasks == 1 else 'stand'} still" if tasks else ""
        fix = f"make {lock} a fastlock.aio.Lock, or move what {_at(wait)} does into asyncio.to_thread()"
        return self.lint("loop-blocked", ("agent", agent.id), name, f"the loop of {name} waits for {lock}{stand}", self.age_s(wait), fix)

    def across_await(self) -> Iterator[Lint]:
        """What the processes have found of locks that are held across an await."""
        told: set[str] = set()
        for finding in reversed(self.seen.findings):
            fingerprint = str(finding.get("fingerprint"))
            if finding.get("code") == "FL005" and fingerprint not in told:
                told.add(fingerprint)
                about = next((printable(str(each.get("name"))) for each in finding.get("locks", ()) if isinstance(each, Mapping)), "a lock")
                what, fix = (printable(str(finding.get(key))) for key in ("explanation", "fix"))
                yield self.lint("lock-across-await", ("finding", fingerprint), about, what, 0.0, fix)

    @cached_property
    def sleeping(self) -> list[Lint]:
        """Waits without a timeout for locks whose owner sleeps."""
        return list(self._sleeping())

    def _sleeping(self) -> Iterator[Lint]:
        for number, waits in self.queues.items():
            wait = next((each for each in waits if each.deadline_ns is None), None)
            owner, sleep = self._sleeper(number, wait)
            if wait is not None and owner is not None and sleep is not None:
                who, name, lock = self.names.agent(wait.agent), self.names.agent(owner.id), self.names.lock(number)
                in_what = f" ({sleep.channel})" if sleep.channel else ""
                what = f"{who} waits without a timeout for {lock}; {name}, who has it, {sleep.text}{in_what}"
                held = place(self.seen.locks[number].held_at)
                fix = f"do not sleep or wait for others while holding {lock}{' since ' + held if held else ''}; or give the wait in {_at(wait)} a timeout"
                yield self.lint("owner-sleeps", ("lock", number), lock, what, self.age_s(wait), fix)

    def _sleeper(self, number: int, wait: Wait | None) -> tuple[Agent | None, Sleep | None]:
        """Return the owner of a lock and what it sleeps in, where it has been waited for long and waits for nothing of ours."""
        owner = self._lasting_owner(self.seen.locks[number])
        if wait is None or owner is None or owner.kind != "thread" or owner.native_id is None:
            return None, None
        if self.age_s(wait) < SLEEPING_S or owner.id in self.waiting or not self.kept_by_one(self.seen.locks[number], wait.since_ns):
            return None, None
        return owner, self.asleep(self.seen.pid, owner.native_id)

    def _lasting_owner(self, lock: Lock) -> Agent | None:
        return None if lock.owner is None or lock.kind == "Semaphore" else self.seen.agents.get(lock.owner)

    def long_holds(self) -> Iterator[Lint]:
        """Locks that one owner keeps from others; who waits for a lock itself is not to blame, but whoever that one waits for."""
        asleep = {lint.target.key for lint in self.sleeping}
        for number, waits in self.queues.items():
            lock, age_s = self.seen.locks[number], self.age_s(waits[0])
            owner = self._lasting_owner(lock)
            if owner is None or age_s < LONG_HOLD_S or number in asleep or not self.kept_by_one(lock, waits[0].since_ns):
                continue
            own = self.waiting.get(owner.id)
            if own is not None and own.lock in self.queues:
                continue
            name, told = self.names.agent(owner.id), self.names.lock(number)
            does = "" if own is None else f", and waits for {self.names.wanted(own)} meanwhile ({own.what} at {_at(own)})"
            what = f"{name} keeps {told} from {_number(len(waits))}, the oldest for {duration(age_s)}{does}"
            held = place(lock.held_at)
            fix = f"release {told} sooner{', taken in ' + held if held else ''}: do the slow part before taking it, or after"
            yield self.lint("long-hold", ("lock", number), told, what, age_s, fix)

    def writers(self) -> Iterator[Lint]:
        """Writers that wait while readers come in after them."""
        for number, waits in self.queues.items():
            lock = self.seen.locks[number]
            writer = next((each for each in waits if each.mode == "exclusive"), None)
            if lock.kind != "RWLock" or lock.owner is not None or writer is None or self.age_s(writer) < STARVING_S:
                continue
            since = [queue for now_ns, queue in self.run(number) if now_ns >= writer.since_ns]
            later = set(lock.readers).union(*(queue.readers for queue in since)) - set(since[0].readers) if since else set()
            if later:
                who, told = self.names.agent(writer.agent), self.names.lock(number)
                came = f"{len(later):,} {'reader' if len(later) == 1 else 'readers'}"
                what = f"{who} waits to write {told}; meanwhile {came} came in after it"
                fix = f'let {told} prefer writers: fastlock.RWLock(prefer="writer"), which is the default, or read it less long'
                yield self.lint("starving-writer", ("lock", number), told, what, self.age_s(writer), fix)

    def busy(self) -> Iterator[Lint]:
        """Locks that go round while others queue: convoys, and what is always contended."""
        for number, waits in self.queues.items():
            run = self.run(number)
            convoy = _last(run, lambda queue: queue.waiters >= CONVOY_WAITERS)
            told = self.names.lock(number)
            if _lasts(convoy, CONVOY_S, CONVOY_READINGS) and _owners(convoy) >= CONVOY_OWNERS:
                least = min(queue.waiters for _, queue in convoy)
                what = f"{len(waits):,} queue for {told}, never fewer than {least:,} in {duration(_span_s(convoy))}, and it had {_owners(convoy):,} owners meanwhile"
                fix = f"hold {told} for less: move work out of it, take it once for many things, or split it (a lock for each part)"
                yield self.lint("convoy", ("lock", number), told, what, _span_s(convoy), fix)
            elif _lasts(run, CONTENDED_S, CONTENDED_READINGS) and len({queue.oldest_ns for _, queue in run}) >= CONTENDED_TURNS:
                most = max(queue.waiters for _, queue in run)
                what = f"somebody waited for {told} in each of the last {len(run):,} readings ({duration(_span_s(run))}), up to {most:,} at once"
                fix = f"hold {told} for less, or split it; `fastlock.metrics()` tells how much time its class costs"
                yield self.lint("always-contended", ("lock", number), told, what, _span_s(run), fix)


_Run = Sequence[tuple[int, Queue]]


def _last(run: _Run, fits: Callable[[Queue], bool]) -> _Run:
    """Return the newest readings of a run, as many as fit one after another."""
    first = next((at for at in range(len(run) - 1, -1, -1) if not fits(run[at][1])), -1)
    return run[first + 1 :]


def _lasts(run: _Run, least_s: float, readings: int) -> bool:
    return len(run) >= readings and _span_s(run) >= least_s


def _span_s(run: _Run) -> float:
    return (run[-1][0] - run[0][0]) / 1e9 if run else 0.0


def _owners(run: _Run) -> int:
    return len({queue.owner for _, queue in run if queue.owner is not None})


def _threads_in(finding: Mapping[str, object]) -> Iterator[tuple[int, int]]:
    """Yield the thread and lock of each wait of a finding."""
    agents, edges = finding.get("agents"), finding.get("edges")
    natives = {each.get("id"): each.get("native_id") for each in agents if isinstance(each, Mapping)} if isinstance(agents, (list, tuple)) else {}
    for edge in edges if isinstance(edges, (list, tuple)) else ():
        native, lock = natives.get(edge.get("agent")), edge.get("waits")
        if isinstance(native, int) and isinstance(lock, int):
            yield native, lock


def _at(wait: Wait) -> str:
    return place(wait.wanted_at) or "that line"


def _number(waiters: int) -> str:
    return "one other" if waiters == 1 else f"{waiters:,} others"
