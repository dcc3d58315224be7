"""One thread or task: what it waits for and holds, where it is, what it awaits, who waits for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastlock.console.facts import site_of
from fastlock.console.names import place, place_in
from fastlock.console.pages.alarms import Alarm
from fastlock.console.pages.base import Page, Section, Sight, age_s, aged, count, gone, head, line, notes, numbered
from fastlock.console.pages.waits import behind as behind_it
from fastlock.console.pages.waits import waits_of
from fastlock.console.seen import LIVE, Agent, Asked, Lock, Seen, Target, Wait
from fastlock.console.sleeping import sleep_of
from fastlock.console.tables import Cell, Column, Grid, Line, Row, plain
from fastlock.findings import Site
from fastlock.reporting import duration, is_stdlib, printable

GONE = "This thread or task has ended, or neither holds nor waits for anything that others see."
_HOLDS = (
    Column("lock", "Holds", 14, grow=2),
    Column("site", "Taken at", 13, least=50, grow=2),
    Column("waiters", "Waiters", 7, right=True),
    Column("oldest", "Oldest", 7, right=True, least=44),
)
_FINDINGS = (Column("code", "Code", 5), Column("what", "What", 20, grow=1))
_AWAITS = (Column("who", "Who", 12, grow=1), Column("whom", "Awaits", 14, grow=1), Column("how", "By", 12, least=50, grow=1))
_HOW = {"ThreadPoolExecutor": "a job of {}", "Result": "{}, which it is to bring"}  # what somebody has that is no lock
_FRAMES = 24
_LABEL = 9


def one(sight: Sight) -> Page:
    """Return the thread or task that the target names."""
    target = sight.target
    seen = sight.targeted
    agent = None if seen is None or target is None else seen.agents.get(int(target.key))
    if seen is None or agent is None:
        return gone(sight, "Agent", GONE)
    waits = [wait for wait in seen.whole_waits if wait.agent == agent.id]
    alarm = _alarm(agent, seen, sight)
    held = [lock for each in agent.holds if (lock := seen.locks.get(each)) is not None]
    behind = sorted((wait for wait in seen.whole_waits if wait.lock in agent.holds and wait.agent != agent.id), key=lambda wait: wait.since_ns)
    sections = [
        Section("", _facts(agent, seen, sight)),
        Section("Waits for", waits_of(sight, seen, waits, "lock", "It runs, or waits for something that fastlock does not see.")),
        Section("Holds", _held(held, agent, seen, sight)),
        *stack_of(agent.id, seen, sight, "Where it is"),
        *awaits_of(agent, seen, sight),
        Section("Waits for it", waits_of(sight, seen, behind, "deadlock", "Nobody waits for what it holds.")),
        *_findings(agent, seen),
    ]
    return Page(f"{agent.kind.capitalize()} {sight.names(seen).agent(agent.id)}", head(sight), tuple(sections), notes(sight), None if alarm is None else alarm.target)


def _alarm(agent: Agent, seen: Seen, sight: Sight) -> Alarm | None:
    return next((alarm for alarm in sight.alarms(seen) if agent.id in alarm.agents), None)


def _facts(agent: Agent, seen: Seen, sight: Sight) -> tuple[Line, ...]:
    tid = "" if agent.native_id is None else f", tid {agent.native_id}"
    what = f"thread{tid}" if agent.kind == "thread" else f"task, loop of {printable(agent.loop or 'a thread that is not known')}{tid}"
    alarm = _alarm(agent, seen, sight)
    facts = [_fact("is", what), _fact("behind it", _behind(behind_it(seen, agent.id, alarm), alarm))]
    told = sight.fleet.asked(seen.pid, "agent", agent.id).agent
    doing = told.get("doing") if told else None
    now = [doing if isinstance(doing, str) else "", _sleeps(agent, seen) if agent.waits is None else ""]
    if any(now):
        facts.insert(1, _fact("now", printable(", ".join(each for each in now if each))))
    if alarm is not None:
        facts.append(_fact("deadlock", alarm.told, "bad"))
    return tuple(facts)


def _behind(number: int, alarm: Alarm | None) -> str:
    if alarm is None:
        return f"{count(number, 'agent')} in the end" if number else "nobody"
    return f"{count(number, 'agent')} in the end, besides those in the deadlock" if number else "nobody but those in the deadlock"


def _fact(label: str, text: str, style: str = "") -> Line:
    return line(Cell(f"{label:<{_LABEL}}  ", "dim"), Cell(text, style))


def one_line_about(agent: int, seen: Seen, sight: Sight) -> str:
    """Return what an agent does, as far as the table tells: what it waits for, where and how long."""
    wait: Wait | None = next((wait for wait in seen.whole_waits if wait.agent == agent), None)
    if agent not in seen.agents:
        return "it has ended, or is not in the table"
    if wait is None:
        return _sleeps(seen.agents[agent], seen) or "waits for nothing that fastlock sees"
    at = place(seen.site(wait))
    return f"waits {duration(age_s(seen, wait))} for {sight.names(seen).wanted(wait)}{' at ' + at if at else ''}"


def _sleeps(agent: Agent, seen: Seen) -> str:
    """Return what a thread of a live process sleeps in, as the kernel says it; "" where it runs, or nothing is known."""
    sleep = sleep_of(seen.pid, agent.native_id) if agent.kind == "thread" and agent.native_id and seen.state == LIVE else None
    return "" if sleep is None else f"{sleep.text} ({sleep.channel})" if sleep.channel else sleep.text


def _held(held: Sequence[Lock], agent: Agent, seen: Seen, sight: Sight) -> Grid:
    rows = []
    names = sight.names(seen)
    oldest: dict[int, Wait] = {}
    for wait in sorted(seen.whole_waits, key=lambda wait: wait.since_ns):
        oldest.setdefault(wait.lock, wait)
    for lock in held:
        target = Target("lock", seen.pid, lock.id)
        waited_s = age_s(seen, oldest[lock.id]) if lock.id in oldest else None
        at = place_in(lock.held_at) if lock.owner == agent.id else ""
        name = names.lock(lock.id)
        cells = (Cell(_HOW.get(lock.kind, "{}").format(name), "name", name), Cell(at or "-", "site"), numbered(len(lock.waiters)), aged(waited_s))
        rows.append(Row(cells, target, target))
    order = "" if seen.level in ("order", "trace") else " What it holds that nobody wants is known at level order alone."
    return plain(_HOLDS, rows, f"It holds nothing that others wait for.{order}")


# ---- where it is, and what it awaits -------------------------------------------------------------------------------


def stack_of(agent: int, seen: Seen, sight: Sight, title: str) -> list[Section]:
    """Return the stack of an agent: what its process says now, else what the newest finding about it has, else why there is none."""
    asked = sight.fleet.asked(seen.pid, "agent", agent)
    frames = [] if asked.agent is None else _frames(asked.agent.get("stack"))
    if frames:
        return [Section(title, _stack(frames))]
    found = next((finding for finding in reversed(seen.findings) if _stack_in(finding, agent)), None)
    if found is not None:
        at = printable(str(found.get("detected_at", ""))[11:19])
        return [Section(f"{title}: as {printable(str(found.get('code')))} of {at}Z found it", _stack(_stack_in(found, agent)))]
    return [Section(title, (line(f"Its stack is not known: {_why_not(asked)}"),))]


def _why_not(asked: Asked) -> str:
    why = asked.why or (asked.agent or {}).get("why")
    return printable(why) if isinstance(why, str) and why else "the process has none to tell"


def _stack_in(finding: Mapping[str, Any], agent: int) -> list[Site]:
    for each in finding.get("agents", ()):
        if isinstance(each, Mapping) and each.get("id") == agent:
            return _frames(each.get("stack"))
    return []


def _frames(told: object) -> list[Site]:
    """Return the frames of a stack as JSON has it; what is no frame is left out."""
    frames = []
    for each in told if isinstance(told, Sequence) and not isinstance(told, str) else ():
        try:
            frames.append(site_of(each))
        except (LookupError, TypeError, AttributeError):
            continue
    return [frame for frame in frames if frame is not None]


def _stack(frames: Sequence[Site]) -> tuple[Line, ...]:
    """Return the innermost frames, the innermost last; those of the standard library are dim."""
    hidden = len(frames) - _FRAMES
    lines = [line(Cell(f"… {count(hidden, 'outer frame')}", "dim"))] if hidden > 0 else []
    shown = frames[-_FRAMES:]
    room = max(len(place_in(frame)) for frame in shown)
    for frame in shown:
        style = "dim" if is_stdlib(frame.file) else "site"
        lines.append(line(Cell(f"{place_in(frame):<{room}}", style), Cell(f"  {printable(frame.text)}" if frame.text else "", "dim" if style == "dim" else "")))
    return tuple(lines)


def awaits_of(agent: Agent, seen: Seen, sight: Sight) -> list[Section]:
    """Return what a task awaits, and what its loop does, as its process says it."""
    told = sight.fleet.asked(seen.pid, "agent", agent.id).agent or {}
    rows = [row for each in _mappings(told.get("awaits")) if (row := _awaited(each, seen)) is not None]
    sections = [Section("Awaits", plain(_AWAITS, rows, ""))] if rows else []
    does = told.get("loop_does")
    if isinstance(does, Mapping):
        sections.append(Section("Its loop", (line(_loop_does(does)), *_loop_stack(does))))
    return sections


def _awaited(link: Mapping[str, Any], seen: Seen) -> Row | None:
    """Return who awaits whom, which leads to that one where the table has it."""
    who, whom = link.get("who"), link.get("whom")
    if not isinstance(who, Mapping) or not isinstance(whom, Mapping):
        return None
    number = whom.get("id")
    target = Target("agent", seen.pid, number) if isinstance(number, int) and number in seen.agents else None
    texts = (who.get("name"), f"{whom.get('kind', '')} {whom.get('name')}".strip(), link.get("how") or "")
    name, awaited, how = (Cell(printable(str(each)), style) for each, style in zip(texts, ("name", "owner", "dim")))
    return Row((name, awaited, how), target, ("await", name.text, awaited.text))


def _loop_does(does: Mapping[str, Any]) -> str:
    running = does.get("running")
    now = f"runs {running}" if isinstance(running, str) and running else "runs no task now"
    more = [f"{does[key]:,} {word}" for key, word in (("ready", "ready to run"), ("timers", "timers")) if isinstance(does.get(key), int)]
    return printable(", ".join([now, *more]))


def _loop_stack(does: Mapping[str, Any]) -> tuple[Line, ...]:
    frames = _frames(does.get("stack"))
    return _stack(frames) if frames else ()


def _mappings(told: object) -> list[Mapping[str, Any]]:
    return [each for each in told if isinstance(each, Mapping)] if isinstance(told, (list, tuple)) else []


def _findings(agent: Agent, seen: Seen) -> list[Section]:
    rows = []
    for finding in reversed(seen.findings):
        if any(isinstance(each, Mapping) and each.get("id") == agent.id for each in finding.get("agents", ())):
            target = Target("finding", seen.pid, str(finding["fingerprint"]))
            rows.append(Row((Cell(str(finding["code"])), Cell(printable(str(finding["explanation"])))), target, target))
    return [Section("Findings about it", plain(_FINDINGS, rows, ""))] if rows else []
