"""FL001: circles of any length over all kinds of locks, how sure each one is, and silence where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from support import PRELUDE, ask, run_program


def names(finding: dict[str, Any]) -> list[str]:
    by_id = {agent["id"]: agent["name"] for agent in finding["agents"]}
    return [by_id[edge["agent"]] for edge in finding["edges"]]


def assert_circle(finding: dict[str, Any], length: int) -> None:
    """Each agent waits for what the next one holds, and the one that closed the circle comes first."""
    edges = finding["edges"]
    assert (finding["code"], len(edges), len(finding["agents"]), len(finding["locks"])) == ("FL001", length, length, length)
    for number, edge in enumerate(edges):
        assert edge["waits"] == edges[(number + 1) % length]["holds"]
        assert edge["held_at"]["line"] and edge["wanted_at"]["line"]
    assert names(finding)[0] == f"t{length - 1}"


@pytest.mark.parametrize("length", [2, 3, 100])
def test_a_circle_is_found_as_it_forms(length: int) -> None:
    """Circles of 2, 3 and 100 threads are one proven finding each, with every edge."""
    findings = ask(
        f"""
        ring([fastlock.RLock() for _ in range({length})])
        found("FL001")
        tell([finding.to_dict() for finding in fastlock.findings()])
        """
    )
    assert len(findings) == 1
    assert_circle(findings[0], length)
    assert (findings[0]["tier"], findings[0]["clears"], findings[0]["behind"]) == ("proven", False, 0)
    assert findings[0]["reasons"] == ["confirmed twice"]


def test_two_locks_made_in_two_lines_keep_their_names() -> None:
    """Locks, classes and sites are those of the source, each edge's own."""
    finding = ask(
        """
        left = fastlock.Lock()
        right = fastlock.Lock()
        both = threading.Barrier(2)
        def first():
            with left:
                both.wait()
                with right: pass
        def second():
            with right:
                both.wait()
                blocked("first")
                with left: pass
        start(first), start(second)
        tell(found("FL001")[0].to_dict())
        """
    )
    assert_circle({**finding, "agents": [{**agent, "name": f"t{1 - n}"} for n, agent in enumerate(finding["agents"])]}, 2)
    locks = {lock["id"]: lock for lock in finding["locks"]}
    second, first = finding["edges"]
    assert [locks[second[key]]["name"] for key in ("holds", "waits")] == ["right", "left"]
    assert [second["held_at"]["line"], second["wanted_at"]["line"]] == [12, 15]
    assert [first["held_at"]["line"], first["wanted_at"]["line"]] == [8, 10]
    assert locks[first["holds"]]["created"]["line"] == 4
    assert [agent["stack"][-1]["text"] for agent in finding["agents"]] == ["with left: pass", "with right: pass"]


MODES = {
    "write, write": ("acquire_write", "acquire_write", "exclusive"),
    "write, read": ("acquire_write", "acquire_read", "shared"),
    "read, write": ("acquire_read", "acquire_write", "exclusive"),
}


@pytest.mark.parametrize("hold, want, mode", MODES.values(), ids=MODES)
def test_rwlocks_in_every_mode_that_excludes(hold: str, want: str, mode: str) -> None:
    """Readers and writers of two RWLocks deadlock as soon as one of them excludes the other."""
    finding = ask(
        f"""
        ring([fastlock.RWLock(), fastlock.RWLock()], "{hold}", "{want}")
        tell(found("FL001")[0].to_dict())
        """
    )
    assert_circle(finding, 2)
    assert (finding["tier"], [edge["mode"] for edge in finding["edges"]]) == ("proven", [mode, mode])


def test_readers_of_two_rwlocks_do_not_deadlock() -> None:
    """Reads in opposite order exclude nobody."""
    assert ask(
        """
        threads = ring([fastlock.RWLock(), fastlock.RWLock()], "acquire_read", "acquire_read")
        """.replace('ring(', 'two(')
        .replace("threads", "def two(locks, hold, want):\n"
                 "            t = [start(getattr(l, hold)) for l in locks]\n"
                 "            for each in t: each.join()\n"
                 "            return t\n"
                 "        threads")
        + """
        tell(len(fastlock.findings()))
        """
    ) == 0
