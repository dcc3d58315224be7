"""The console's pages of one thing: a lock, an agent, a finding, an inversion, a root, a class; with and without what only its process can tell."""

from __future__ import annotations

from typing import Any

import pytest

from console_support import NOW_NS, Fleet, Process, busy, deadlocked, fleet, grids, inversion, rows, sections, shown, starved, text, told_deadlock
from fastlock.console.pages import VIEWS
from fastlock.console.seen import Asked, ClassFacts, Target
from fastlock.reporting import width


def test_a_lock_tells_its_holder_its_queue_and_its_histogram() -> None:
    """Who has it and where that one stands, who waits in which order, and how long waits for its class take."""
    of = fleet(busy())
    of.answers[41, "agent", 1] = Asked(NOW_NS, agent={"stack": [{"file": "/srv/shop/pay.py", "line": 12, "function": "pay", "text": "bank.send(bill)"}], "doing": "runs"})
    of.answers[41, "classes", 0] = Asked(NOW_NS, classes={"ledger": ClassFacts("ledger", "Lock", 3, 40, 30, 6.0, ((0.001, 10), (0.1, 10), (1.0, 30)))})
    told = sections(shown("locks", of, Target("lock", 41, 100)))
    assert told["Held by"] == ["holder | pay.py:10 in run | waits for nothing that fastlock sees"]
    assert told["Where the holder is"] == ["pay.py:12 in pay  bank.send(bill)"]
    assert told["Waiting, in order: 1"][0].startswith("reader | ledger | holder | 20s")
    histogram = told["Waits of class ledger"]
    assert "live       3" in histogram and "waited     30 waits over, 200 ms on average" in histogram
    assert [line.split()[:4] for line in histogram[3:]] == [["up", "to", "1", "ms"], ["up", "to", "100", "ms"], ["up", "to", "1.0s", "20"]]


def test_histograms_have_a_bar_for_each_bucket_in_between() -> None:
    """Buckets count all up to their bound; a bar shows what is in it alone, the last one what is above all bounds."""
    from fastlock.console.pages.lock import histogram

    bars = ["".join(cell.text for cell in line) for line in histogram(((0.001, 10), (0.1, 10), (1.0, 30), (float("inf"), 31)))]
    assert [line.split() for line in bars] == [
        ["up", "to", "1", "ms", "10", "█" * 16],
        ["up", "to", "100", "ms", "0"],
        ["up", "to", "1.0s", "20", "█" * 32],
        ["over", "1.0s", "1", "█" * 2],
    ]


@pytest.mark.parametrize("why", ["not told by this process (older fastlock)", "it is stopped, and answers when it goes on"])
def test_what_a_process_does_not_tell_is_said_with_the_reason(why: str) -> None:
    """No number is made up where only the process knows it."""
    of = fleet(busy())
    of.answers = {(41, part, agent): Asked(why=why) for part, agent in (("classes", 0), ("order", 0), ("agent", 1), ("level", 0))}
    page = shown("locks", of)
    assert rows(page)[0]["contended"] == rows(page)[0]["live"] == "-"
    assert any(why in note for note in page.notes)
    lock = sections(shown("locks", of, Target("lock", 41, 100)))
    assert lock["Where the holder is"] == [f"Its stack is not known: {why}"]
    assert lock["Waits of class ledger"] == [f"Not known: {why}"]
    assert any(why in note for note in shown("order", of).notes)


def test_an_agent_tells_what_it_waits_for_holds_and_awaits() -> None:
    """A suspended task: its chain of awaits, what its loop does, who waits for it."""
    of = fleet(busy())
    of.answers[41, "agent", 6] = Asked(
        NOW_NS,
        agent={
            "doing": "suspended",
            "stack": [{"file": "/srv/shop/rows.py", "line": 6, "function": "fetch", "text": "await db.get()"}],
            "awaits": [{"who": {"id": 6, "name": "fetch"}, "whom": {"id": 7, "kind": "task", "name": "store"}, "how": "gather()"}, "garbage"],
            "loop_does": {"running": None, "ready": 3, "timers": 1, "stack": []},
        },
    )
    page = shown("waits", of, Target("agent", 41, 6))
    told = sections(page)
    assert page.title == "Task fetch (task)"
    assert "now        suspended" in told[""]
    assert told["Awaits"] == ["fetch | task store | gather()"]
    assert Target("agent", 41, 7) in [row.target for grid in grids(page) for row in grid.rows]
    assert told["Its loop"] == ["runs no task now, 3 ready to run, 1 timers"]
    assert told["Holds"] == ["rows | rows.py:5 in run | 1 | 1.0s"]
    assert told["Waits for it"][0].startswith("store (task) | rows")


@pytest.mark.parametrize("agent", [{"stack": "no list"}, {"stack": [{"file": 3}, None]}, {"stack": [], "awaits": {"a": 1}, "loop_does": []}, {"doing": 5, "why": ["x"]}])
def test_answers_that_make_no_sense_are_no_stack(agent: dict[str, Any]) -> None:
    """A process may answer anything."""
    of = fleet(busy())
    of.answers[41, "agent", 1] = Asked(NOW_NS, agent=agent)
    assert sections(shown("waits", of, Target("agent", 41, 1)))["Where it is"] == ["Its stack is not known: the process has none to tell"]


def test_findings_are_told_with_their_report_and_meaning() -> None:
    """The newest first; one finding by itself is its report, who of it is still there, and what its code means."""
    made = deadlocked()
    made.findings += [told_deadlock(), inversion({"detected_at": "2026-11-30T23:59:00.000+00:00"})]
    page = shown("findings", fleet(made))
    assert [(row["code"], row["tier"], row["count"], row["at"]) for row in rows(page)] == [("FL010", "high", "3", "23:59:00Z"), ("FL001", "proven", "3", "23:31:40Z")]
    assert [row["code"] for row in rows(shown("findings", fleet(made), kind="fl001"))] == ["FL001"]
    told = text(shown("findings", fleet(made), grids(page)[0].rows[1].target))
    for part in ("FL001 deadlock: 2 agents, 2 locks", "What FL001 means", "Why it happens", "exporter", "ledger_lock"):
        assert part in told


@pytest.mark.parametrize(
    "garbage",
    [{"edges": [{"agent": "x"}]}, {"agents": [{}]}, {"locks": [{"id": None}]}, {"tier": "sure"}, {"reasons": [3]}, {"count": "many"}, {"detected_at": None}, {"edges": []}],
)
def test_findings_that_make_no_sense_are_told_as_far_as_they_do(garbage: dict[str, Any]) -> None:
    """A table may be torn or forged: there is a page all the same."""
    made = deadlocked()
    made.findings.append({**told_deadlock(), **garbage})
    of = fleet(made)
    told = [text(shown(view, of)) for view in VIEWS] + [text(shown("findings", of, Target("finding", 41, "cd" * 32))), text(shown("circles", of, Target("circle", 41, 1)))]
    assert all(told)


def test_order_has_inversions_first_with_both_places() -> None:
    """Out of the process's order graph; what only a finding tells of is there too, once."""
    made = Process(facts={"level": "order"})
    made.findings.append(inversion())

    def edge(first: str, then: str, times: int, held: int, wanted: int) -> dict[str, Any]:
        places = ({"file": "/srv/shop/shop.py", "line": line, "function": "visit", "text": ""} for line in (held, wanted))
        return {"first": first, "then": then, "count": times, **dict(zip(("held_at", "wanted_at"), places)), "first_seen": "", "agent": "replica-1"}

    edges = [edge("cache", "index", 1, 5, 6), edge("index", "cache", 20, 8, 9)]
    cycle = {"classes": ["cache", "index"], "tier": "possible", "reasons": ["one agent alone did both"], "edges": edges}
    of = fleet(made)
    of.answers[41, "order", 0] = Asked(NOW_NS, order={"level": "order", "cycles": [cycle, "garbage"], "edges": [*edges, {"first": 3}], "full": True, "cut": {"edges": 12, "cycles": 0}})
    page = shown("order", of)
    assert rows(page) == [
        {"classes": "cache ⇄ index", "tier": "possible", "one": "shop.py:5 → 6, once", "other": "shop.py:8 → 9, 20 times"},
        {"classes": "audit ⇄ stock", "tier": "high", "one": "shop.py:52 → 61", "other": "shop.py:38 → 52"},
    ]
    assert [row["count"] for row in rows(grids(page)[1])] == ["1", "20"]
    assert "12 orders" in "\n".join(page.notes) and "is full" in "\n".join(page.notes)
    one = text(shown("order", of, grids(page)[0].rows[0].target))
    assert "one agent alone did both" in one and "index → cache    20 times, first by replica-1" in one
    two = text(shown("order", of, grids(page)[0].rows[1].target))
    assert "audit → stock" in two and "take" in two


def test_results_and_pools_are_no_locks() -> None:
    """A result comes from somebody or stands in a pool's queue, a pool has workers; nobody holds either."""
    of = fleet(starved())
    page = shown("locks", of)
    assert rows(page) == []
    assert [(row["lock"], row["owner"]) for row in rows(grids(page)[1])][:2] == [("result of page()", "worker-0"), ("result of part() #1", "worker-0")]
    result, pool = (shown("locks", of, Target("lock", 41, number)) for number in (101, 100))
    assert result.title == "Result result of page()" and sections(result)["Comes from"] == ["worker-0 | - | waits 4.0s for result of part() #1 at nested.py:33"]
    assert pool.title == "Pool pool" and [line.split(" | ")[0] for line in sections(pool)["Its workers"]] == ["worker-0", "worker-1"]
    assert sections(pool)["Waiting, in order: 0"] == ["Nobody waits for a pool itself: the results of its jobs are waited for."]
    made = starved()
    made.locks[103] = made.locks[103]._replace(owner=None, pool=100)
    queued = shown("locks", fleet(made), Target("lock", 41, 103))
    assert sections(queued)["Comes from"] == ["It is queued in pool: no worker has begun it."]
    assert [row["owner"] for row in rows(grids(shown("locks", fleet(made)))[1])][2] == "queued in pool"
    assert sections(shown("waits", of, Target("agent", 41, 2)))["Holds"][0].startswith("a job of pool | ")


def test_a_starved_pool_is_one_root_with_those_behind_it() -> None:
    """As in its report: who else is in it does not stand behind it, and Waits counts the same."""
    of = fleet(starved())
    page = shown("roots", of)
    assert rows(page) == [{"who": "FL030 pool starvation", "does": "worker-0 and worker-1", "behind": "1", "oldest": "4.0s"}]
    root = shown("roots", of, grids(page)[0].rows[0].target)
    told = text(root)
    assert "FL030 pool starvation: worker-0 and worker-1\n1 agent waits for it in the end, for 4.0s" in told
    assert "└ MainThread waits for result of page() at nested.py:41, for 4.0s" in told
    assert [row["behind"] for row in rows(shown("waits", of))] == ["", "1", "1"]
    assert [row["who"] for row in rows(grids(shown("circles", of, Target("circle", 41, 2)))[0])] == ["worker-0", "worker-1"]


def test_a_stall_is_one_root_without_a_circle() -> None:
    """Nobody in it waits for another one in the table, and it is who is waited for in the end all the same."""
    made = Process(facts={"health": "deadlocked"})
    crawler, clerk = made.agent("crawler"), made.agent("clerk")
    room, pages = made.lock("jobs", kind="Condition"), made.lock("pages_lock", crawler, "crawl.py:20")
    made.wait(crawler, room, 30, "crawl.py:27", "Condition.wait")
    made.wait(clerk, pages, 12, "clerk.py:7")
    told = told_deadlock()
    agents, locks = [{**told["agents"][0], "id": crawler, "name": "crawler"}], [{**told["locks"][0], "id": room, "name": "jobs.not_full", "kind": "Condition"}]
    edges = [{**told["edges"][0], "agent": crawler, "holds": None, "waits": room}]
    made.findings.append({**told, "code": "FL031", "title": "stall", "agents": agents, "locks": locks, "edges": edges})
    of = fleet(made)
    page = shown("roots", of)
    assert rows(page) == [{"who": "FL031 STALL", "does": "crawler", "behind": "1", "oldest": "12s"}]
    assert [(row["who"], row["behind"]) for row in rows(shown("waits", of))] == [("crawler", "1"), ("clerk", "")]
    root = text(shown("roots", of, grids(page)[0].rows[0].target))
    assert "crawler: waits 30s for jobs at crawl.py:27" in root and "↻" not in root
    assert grids(shown("roots", of, grids(page)[0].rows[0].target))[0].rows[0].target == Target("finding", 41, "cd" * 32)


def test_a_stall_names_the_queue_and_the_call() -> None:
    """As its report does; a call of which its sentences tell nothing keeps the name of its condition."""
    made = Process(facts={"health": "deadlocked"})
    one = made.agent("crawler")
    room, other = (made.lock("jobs", kind="Condition") for _ in range(2))
    made.wait(one, room, 30, "crawl.py:27", "Condition.wait")
    told = told_deadlock()
    agents = [{**told["agents"][0], "id": one, "name": "crawler"}]
    locks = [{**told["locks"][0], "id": number, "name": name, "kind": "Condition"} for number, name in ((room, "jobs.not_full"), (other, "more.not_empty"))]
    edges = [{**told["edges"][0], "agent": one, "holds": None, "waits": number} for number in (room, other)]
    sentence = "Thread \"crawler\" waits in Queue.put on jobs, 4 of 4, at crawl.py:27, and it is the only one who takes from it."
    made.findings.append({**told, "code": "FL031", "title": "stall", "agents": agents, "locks": locks, "edges": edges, "explanation": sentence})
    page = text(shown("findings", fleet(made), Target("finding", 41, "cd" * 32)), 120)
    assert "waits  Queue.put on jobs, 4 of 4 " in page and "waits  more.not_empty " in page and "jobs.not_full" not in page


def counted_twice(first: int, then: int) -> Fleet:
    """A process that found an inversion, and has since counted its orders on."""
    made = Process(facts={"level": "order"})
    made.findings.append(inversion({"fix": "in shop.py:38 take audit before stock, as shop.py:52 does: this order was taken once, the other 3 times"}))

    def edge(names: tuple[str, str], times: int, held: int, wanted: int) -> dict[str, Any]:
        places = ({"file": "/srv/shop/shop.py", "line": line, "function": "visit", "text": f"with line {line}:"} for line in (held, wanted))
        return {"first": names[0], "then": names[1], "count": times, **dict(zip(("held_at", "wanted_at"), places)), "first_seen": "", "agent": "replica-1"}

    edges = [edge(("audit", "stock"), first, 52, 61), edge(("stock", "audit"), then, 38, 52)]
    of = fleet(made)
    cycle = {"classes": ["audit", "stock"], "tier": "high", "reasons": [], "edges": edges}
    of.answers[41, "order", 0] = Asked(NOW_NS, order={"level": "order", "cycles": [cycle], "edges": edges, "full": False, "cut": {"edges": 0, "cycles": 0}})
    return of


def test_an_inversion_has_one_count_of_each_order() -> None:
    """That of now, in its orders and in what speaks for the fix; which order is to be turned round stays, whichever is the more frequent one by now."""
    of = counted_twice(20, 2)
    for page in (shown("order", of, Target("inversion", 41, "audit → stock")), shown("findings", of, Target("finding", 41, "ab" * 32))):
        told = " ".join(text(page, 200).split())
        assert "audit → stock 20 times holds audit shop.py:52" in told and "stock → audit 2 times holds stock shop.py:38" in told
        assert "Fix in shop.py:38 take audit before stock, as shop.py:52 does: this order was taken 2 times, the other 20 times" in told
        assert "3 times" not in told.replace("seen 3 times", "")
    told = " ".join(text(shown("order", counted_twice(2, 20), Target("inversion", 41, "audit → stock")), 200).split())
    assert "Fix in shop.py:38 take audit before stock, as shop.py:52 does Explain" in told


def test_an_inversion_that_has_happened_says_so() -> None:
    """Where the process has found the deadlock of the same classes, nothing says that nobody is stuck."""
    of = counted_twice(20, 2)
    page = text(shown("order", of, Target("inversion", 41, "audit → stock")), 120)
    assert "nobody is stuck" in page and "This has not happened yet" in page
    made = Process(facts={"level": "order"})
    made.findings += [inversion(), inversion({"code": "FL001", "title": "deadlock", "tier": "proven", "fingerprint": "ef" * 32, "clears": False})]
    page = text(shown("findings", fleet(made), Target("finding", 41, "ab" * 32)), 120).partition("What FL010 means")[0]
    assert "and it has happened: deadlock efefef" in page and "This has not happened yet" not in page and "nobody is stuck" not in page


@pytest.mark.parametrize("columns", [200, 100, 80, 60, 40])
def test_how_an_inversion_would_come_about_is_never_broken_in_two_columns(columns: int) -> None:
    """Side by side, in cells of two lines, or one below the other; and no sentence is broken twice."""
    lines_of_it = text(shown("order", counted_twice(20, 2), Target("inversion", 41, "audit → stock")), columns).partition("== Inversion")[2].splitlines()
    at = next(number for number, each in enumerate(lines_of_it) if "This has not happened yet" in each)
    end = next(number for number, each in enumerate(lines_of_it) if "neither can go on" in each)
    assert all(width(each) <= columns for each in lines_of_it)
    if columns >= 80:
        assert len([each for each in lines_of_it[at:end] if "takes audit" in each]) == 1
    fix = "".join(lines_of_it[next(number for number, each in enumerate(lines_of_it) if each.startswith("  Fix")) :]).split("Explain")[0]
    assert fix.split()[1:] == "in shop.py:38 take audit before stock, as shop.py:52 does: this order was taken 2 times, the other 20 times".split()


def test_order_says_how_to_learn_it() -> None:
    """At level detect there is nothing to see, and the note says what turns it on."""
    assert any("pid 41: orders are learned at level order: `fastlock level 41 order --for 10m`" in note for note in shown("order", fleet(Process())).notes)


def test_roots_have_their_tree() -> None:
    """Whom everybody waits for in the end, and who stands behind whom; each row leads to its agent."""
    made = Process()
    holder, middle, last = made.agent("holder"), made.agent("middle"), made.agent("last")
    first = made.lock("first", holder, "a.py:1")
    second = made.lock("second", middle, "b.py:1")
    made.wait(middle, first, 9, "b.py:2")
    made.wait(last, second, 4, "c.py:2")
    of = fleet(made)
    page = shown("roots", of)
    assert rows(page) == [{"who": "holder", "does": "waits for nothing that fastlock sees", "behind": "2", "oldest": "9.0s"}]
    root = shown("roots", of, grids(page)[0].rows[0].target)
    tree = grids(root)[-1]
    assert [row.cells[0].text for row in tree.rows] == [
        "└ middle waits for first at b.py:2, for 9.0s",
        "  └ last waits for second at c.py:2, for 4.0s",
    ]
    assert [row.target for row in tree.rows] == [Target("agent", 41, middle), Target("agent", 41, last)]


def test_classes_are_listed_as_their_process_knows_them() -> None:
    """The most contended first, with how long waits took; what is not known is no number."""
    of = fleet(busy())
    of.answers[41, "classes", 0] = Asked(
        NOW_NS,
        classes={
            "ledger": ClassFacts("ledger", "Lock", None, None, None, None, ()),
            "cache": ClassFacts("cache", "RLock", 1200, 77, 60, 1.5, ((0.1, 60),)),
        },
    )
    page = shown("locks", of)
    assert rows(grids(page)[2]) == [
        {"class": "cache", "kind": "RLock", "live": "1,200", "contended": "77", "waits": "60", "average": "25 ms"},
        {"class": "ledger", "kind": "Lock", "live": "-", "contended": "-", "waits": "-", "average": ""},
    ]
    assert [row["lock"] for row in rows(page)] == ["ledger", "rates", "pool", "rows"]
    assert [(row["lock"], row["kind"], row["owner"]) for row in rows(grids(page)[1])] == [("ready", "Event", "-")]
    assert "up to 100 ms" in text(shown("locks", of, grids(page)[2].rows[0].target))
    of.answers[41, "classes", 0] = Asked(NOW_NS, classes={}, cut=1200)
    assert any("1,200 more classes" in note for note in shown("locks", of).notes)
