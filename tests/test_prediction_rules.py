"""Prediction: what makes two orders an inversion, what keeps them from being one, and what learning leaves behind.

Lines of locks are in the words of order_rows.py. No thread of these programs ever waits for another one's lock.
"""

from __future__ import annotations

import pytest

from order_rows import rows
from support import ask

HIGH, POSSIBLE = ["FL010 high"], ["FL010 possible"]


# ---- the filters


def test_two_orders_in_two_threads_are_an_inversion_without_any_blocking() -> None:
    """One thread after the other, nobody ever waits: both orders are in the finding, with both sites."""
    finding, texts, waits, cycles = ask(
        """
        fastlock.set_level("order")
        first, second, stop = fastlock.Lock(), fastlock.Lock(), threading.Event()
        def sell():
            with first:
                with second: pass
            sold.set(); stop.wait()
        def count():
            with second:
                with first: pass
        sold = threading.Event()
        start(sell); sold.wait()
        start(count).join()
        finding, waits = found("FL010")[0], len(fastlock.snapshot().waits)
        stop.set()
        texts = [[edge.held_at.text, edge.wanted_at.text] for edge in finding.edges]
        tell([finding.to_dict(), texts, waits, [[cycle.tier, len(cycle.edges)] for cycle in fastlock.order_graph().cycles()]])
        """
    )
    assert (finding["code"], finding["tier"], finding["reasons"], finding["clears"]) == ("FL010", "high", [], None)
    assert texts == [["with second:", "with first: pass"], ["with first:", "with second: pass"]]
    assert [agent["name"] for agent in finding["agents"]] == ["count", "sell"]
    assert (waits, cycles) == (0, [["high", 2]])


FILTERED = {
    "one thread": ('stage.do(0, "A B"), stage.do(0, "B A")', "agents"),
    "an exclusive gate": ('stage.play("G A B | G B A")', "gate"),
    "a gate further down": ('stage.play("G X A B | Y G B A")', "gate"),
    "an RWLock as a gate, written once": ('stage.play("R1 A B | W1 B A")', "gate"),
    "an RWLock as a gate, read upgradably": ('stage.play("U1 A B | U1 B A")', "gate"),
    "an RWLock as a gate, read upgradably and written": ('stage.play("U1 A B | W1 B A")', "gate"),
    "start": ('stage.do(0, "A B"), stage.crew[0].do(born), stage.do(1, "B A")', "happens-before"),
    "join": ('stage.do(0, "A B"), stage.crew[1], end(0, 1), stage.do(1, "B A")', "happens-before"),
    "start, over another thread": (
        'stage.do(0, "A B"), stage.crew[0].do(born), stage.crew[1].do(born, 2), stage.do(2, "B A")', "happens-before",
    ),
    "join and start": ('stage.do(0, "A B"), end(0), stage.do(1, "B A")', "happens-before"),
}  # fmt: skip
REOPENED = {
    "second thread": ("one thread", 'stage.do(1, "B A")'),
    "without the gate": ("an exclusive gate", 'stage.do(2, "B A")'),
    "the other without the gate": ("an exclusive gate", 'stage.do(3, "A B")'),
    "both read the gate": ("an RWLock as a gate, written once", 'stage.do(2, "R1 B A")'),
    "one reads the gate plainly": ("an RWLock as a gate, read upgradably", 'stage.do(2, "R1 B A")'),
    "after the start": ("start", 'stage.do(0, "A B")'),
    "before the join": ("join", 'stage.do(2, "A B"), stage.do(1, "B A")'),
}
@pytest.mark.parametrize("name", FILTERED)
def test_orders_that_can_never_meet_are_silent_and_counted(name: str) -> None:
    """Nothing is found, and order_graph() counts the circle under the filter that keeps it from happening."""
    steps, name_of_filter = FILTERED[name]
    told = rows(f"stage = Stage()\n{steps}\ntell([stage.found(), stage.filtered(), dict(fastlock.order_graph().filtered)])")
    assert told[:2] == [[], [name_of_filter]]
    assert told[2][name_of_filter] == 1 and sum(told[2].values()) == 1


@pytest.mark.parametrize("name", REOPENED)
def test_a_later_witness_re_opens_a_filtered_circle(name: str) -> None:
    """However often a pair was seen before: the first time that the filter does not hold, the circle is found."""
    before, then = REOPENED[name]
    told = rows(
        f"""
        stage = Stage()
        {FILTERED[before][0]}
        silent = stage.found()
        {then}
        tell([silent, stage.found(), sum(fastlock.order_graph().filtered.values())])
        """
    )
    assert told == [[], HIGH, 0]


def test_reading_a_common_lock_is_no_gate() -> None:
    """Two readers of one RWLock keep nobody apart."""
    told = rows('stage = Stage()\nstage.play("R1 A B | R1 B A")\ntell([stage.found(), stage.filtered()])')
    assert told == [HIGH, []]


def test_starts_and_joins_count_below_level_order_too() -> None:
    """What a thread did before it started another one, or before it was joined, stays ordered when the level was low meanwhile."""
    told = ask(
        """
        order = []
        def do(*locks):
            with locks[0]:
                with locks[1]: pass
        def parent():
            do(a, b)
            with fastlock.at_level("detect"):
                child = threading.Thread(target=do, args=(b, a))
                go = threading.Event()
                child = threading.Thread(target=lambda: (go.wait(), do(b, a)))
                child.start()
            go.set()
            child.join()
        def joiner():
            child = threading.Thread(target=do, args=(c, d))
            child.start()
            fastlock.set_level("detect")
            child.join()
            fastlock.set_level("order")
            do(d, c)
        a, b, c, d = (fastlock.Lock(name=name) for name in "abcd")
        fastlock.set_level("order")
        start(parent).join()
        start(joiner).join()
        fastlock.watchdog.flush(90)
        tell([len(fastlock.findings()), dict(fastlock.order_graph().filtered)])
        """
    )
    assert told[0] == 0
    assert told[1]["happens-before"] == 2


# ---- pools


POOLS = {
    "two jobs": ("pool.submit(first).result(); pool.submit(second).result()", HIGH),
    "one job": ("pool.submit(lambda: (first(), second())).result()", []),
    "two jobs by map": ("list(pool.map(lambda job: job(), [first, second]))", HIGH),
}


@pytest.mark.parametrize("name", POOLS)
def test_jobs_of_one_pool_thread_could_run_at_once(name: str) -> None:
    """A pool with one worker thread: two jobs count as two agents, what one job does in turn does not."""
    jobs, expected = POOLS[name]
    told = ask(
        f"""
        import concurrent.futures
        fastlock.set_level("order")
        a, b = fastlock.Lock(name="a"), fastlock.Lock(name="b")
        def first():
            with a:
                with b: pass
        def second():
            with b:
                with a: pass
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            {jobs}
        fastlock.watchdog.flush(90)
        tell([[f"{{f.code}} {{f.tier}}" for f in fastlock.findings()], fastlock.order_graph().filtered["agents"]])
        """
    )
    assert told == [expected, 0 if expected else 1]


# ---- instances of one class

ACCOUNTS = {
    # row: options of the accounts 1, 2, 3, which are of one class; what is found
    "a1 a2 | a2 a1": ("", HIGH),
    "a1 a2 | a2 a3 | a3 a1": ("", HIGH),
    "a1 a2 | a1 a2": ("", []),
    "a1 a2 | a2 a3 | a1 a3": ("", []),
    "a1 a2 | a1 a3 ": ("key", []),
    "a1 a3 | a2 a3 | a1 a2": ("key", []),
    "a2 a1": ("key", ["FL011 proven"]),
    "a1 a3 a2": ("key", ["FL011 proven"]),
    "a1 a2 |  a2 a1": ("key", ["FL011 proven"]),
    "a1 a2 a3": ("rank", []),
    "a2 a1?": ("rank", []),
    "a2  a1": ("rank", ["FL011 proven"]),
    # Only the classes are known to be inverted: what is wanted here is not what is held there.
    "a1 B | B a2": ("", POSSIBLE),
    "a1 B | B a2 | B a1": ("", HIGH),
    "a1 B | B a2 | a2 B": ("", HIGH),
    "a1 a2 B | B a2": ("", HIGH),
}


@pytest.mark.parametrize("row", ACCOUNTS)
def test_locks_of_one_class(row: str) -> None:
    """Two accounts are told apart: by who was taken first, by their keys or by their ranks."""
    option, expected = ACCOUNTS[row]
    given = f", {option}=int(number)" if option else ""
    told = rows(
        f"""
        def account(number):
            return lambda row: fastlock.Lock(lock_class=row.partition(".")[0] + ".account"{given})
        stage = Stage(**{{f"a{{number}}": account(number) for number in "123"}})
        stage.play("{row}")
        tell([stage.found()[-1:], sum(fastlock.order_graph().filtered.values()), str(stage.findings()[-1:][0]) if stage.found() else ""])
        """
    )
    assert told[:2] == [expected, 0]
    if option and expected:
        assert f"{option} {1 if '3' not in row else 2} wanted while {option} {2 if '3' not in row else 3} is held" in told[2]


def test_ranks_of_locks_of_different_classes() -> None:
    """Rising ranks are silent, equal and falling ones are proven at the first acquire, by one thread alone."""
    told = rows(
        """
        ranks = {"A": 10, "B": 20, "C": 20, "D": 30.5}
        make = {name: lambda row, rank=rank: fastlock.RLock(lock_class=row, rank=rank) for name, rank in ranks.items()}
        answers = []
        for row in ("A B D", "A X D", "B A", "B C", "D X A"):
            stage = Stage(**make)
            stage.do(0, row)
            answers.append([[f.code, f.tier, list(f.reasons)] for f in stage.findings()])
        tell(answers)
        """
    )
    assert told[:2] == [[], []]
    assert [answer[0][2] for answer in told[2:]] == [
        ["rank 10 wanted while rank 20 is held"],
        ["rank 20 wanted while rank 20 is held"],
        ["rank 10 wanted while rank 30.5 is held"],
    ]


# ---- how locks are taken and given back


def test_a_condition_takes_its_lock_again_after_what_is_held() -> None:
    """wait() gives back the condition's lock alone: what is held meanwhile comes before it, and that can close a circle."""
    told = rows(
        """
        answers = []
        for kind in (fastlock.Lock, fastlock.RLock):
            stage = Stage(kind=kind)
            stage.play("A B *A")
            before = stage.found(), stage.edges(), stage.filtered()
            stage.do(1, "A B")
            answers.append([*before, stage.found()])
        tell(answers)
        """
    )
    assert told == [[[], ["AB", "BA"], ["agents"], HIGH]] * 2


def test_a_foreign_release_takes_back_what_was_learned() -> None:
    """A lock that somebody else releases is a signal: its orders go, it is no gate any more, and it never comes back."""
    told = rows(
        """
        stage = Stage()
        stage.play("A B | A G C D | G D C")
        before = stage.edges(), stage.filtered()
        stage.begin(0, "B"); stage.do(1, "!B")
        without_b = stage.edges()
        stage.do(1, "B A"); stage.do(0, "A B")
        stage.begin(0, "G"); stage.do(1, "!G")
        stage.do(2, "D C")
        tell([*before, without_b, stage.edges(), stage.found()])
        """
    )
    assert told[0] == ["AB", "AG", "CD", "DC", "GC", "GD"] and told[1] == ["gate"]
    assert told[2] == ["AG", "CD", "DC", "GC", "GD"]
    assert told[3] == ["CD", "DC"]
    assert told[4] == HIGH


def test_a_failed_try_keeps_the_holder_and_adds_no_order() -> None:
    """Who tries in vain has no order, and the holder's goes on as if nobody had tried."""
    told = rows(
        """
        stage = Stage()
        stage.begin(0, "A")
        stage.begin(1, "B A?")
        stage.begin(0, "C"), stage.end(0), stage.end(1)
        between = stage.edges(), stage.found()
        stage.do(1, "C A")
        tell([*between, stage.found()])
        """
    )
    assert told == [["AC"], [], HIGH]


def test_a_lock_taken_once_more_adds_nothing() -> None:
    """An RLock that is held already cannot be waited for, wherever on the stack it is; nor a share."""
    told = rows(
        """
        stage = Stage(kind=fastlock.RLock)
        stage.play("A B A B /B /B /A C | R1 A R1 | C R1 | A C")
        tell([stage.edges(), stage.found(), stage.filtered()])
        """
    )
    assert told == [["1A", "AB", "AC", "C1"], POSSIBLE, []] or told == [["1A", "AB", "AC", "C1"], HIGH, []]


def test_seventy_locks_held_at_once() -> None:
    """All 2,415 pairs are orders: the circle is closed by the bottom one wanted under the top one, and by any other pair."""
    told = rows(
        """
        stage = Stage()
        names = [f"L{number}" for number in range(70)]
        stage.play(" ".join(names))
        edges = len(stage.edges())
        answers = []
        for low, high in ((0, 69), (33, 34), (10, 60)):
            before = len(stage.found())
            stage.do(1, f"L{high} L{low}")
            answers.append(stage.found()[before:])
        tell([edges, answers, fastlock.order_graph().full])
        """
    )
    assert told == [69, [HIGH, HIGH, HIGH], False]


def test_evidence_of_ownership_that_comes_later_counts() -> None:
    """A Lock's first hold without `with` proves nothing, the second one does: a pair that was seen before is seen again."""
    told = rows(
        """
        answers = []
        for times in (1, 2):
            a, b = (fastlock.Lock(lock_class=f"{letter}{times}") for letter in "ab")
            stage = Stage(A=lambda _: a, B=lambda _: b)
            stage._locks.update(A=a, B=b)
            for _ in range(times):
                for call in (a.acquire, b.acquire, b.release, a.release):
                    stage.crew[0].do(call)
            stage.do(1, "B A")
            fastlock.watchdog.flush(90)
            answers.append([[f.tier, list(f.reasons)] for f in fastlock.findings() if f.locks[0].lock_class[1] == str(times)])
        tell(answers)
        """
    )
    assert [[tier for tier, _ in answer] for answer in told] == [["possible"], ["high"]]
    assert "anybody may release it" in told[0][0][1][0]


def test_held_shared_is_not_wanted_shared() -> None:
    """Reading 1 and writing 2, and writing 1 and reading 2, are two things that one thread does."""
    told = rows(
        """
        stage = Stage(prefer="reader", **{"2": lambda row: fastlock.RWLock(lock_class=row)})
        for _ in range(2):
            stage.do(0, "R1 W2")
        stage.do(0, "W1 R2")
        stage.do(1, "R2 R1")
        first = stage.found()
        tell([first, stage.filtered()])
        """
    )
    assert told == [HIGH, []]


def test_with_a_condition_leaves_nothing_on_the_stack() -> None:
    """A condition on a Lock, entered and left, is not held any more, by whatever way."""
    told = rows(
        """
        stage = Stage()
        condition = fastlock.Condition(stage.lock("A"))
        def enter():
            with condition: pass
            with condition: condition.wait(0)
        for _ in range(3):
            stage.crew[0].do(enter)
        stage.do(0, "B? A C")
        stage.do(1, "C B")
        tell([stage.edges(), stage.found()])
        """
    )
    assert told == [["AC", "BA", "BC", "CB"], HIGH]  # B → C, over a lock that was only tried, is half of the circle


def test_keys_that_cannot_be_compared() -> None:
    """Keys of two kinds have no order: FL011 says so, and the program goes on; a condition's lock is taken again all the same."""
    told = ask(
        """
        fastlock.set_level("order")
        text, number = fastlock.Lock(lock_class="account", key="7"), fastlock.RLock(lock_class="account", key=7)
        condition = fastlock.Condition(number)
        with text, number:
            pass
        with condition:
            text.acquire(False)
            condition.wait(0)
            owned = number._is_owned()
            text.release()
        wait_until(lambda: fastlock.findings())
        tell([owned, number._is_owned(), sorted({(finding.code, finding.reasons) for finding in fastlock.findings()})])
        """
    )
    assert told == [True, False, [["FL011", ["key 7 wanted while key '7' is held"]]]]