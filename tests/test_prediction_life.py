"""Prediction in a program's life: names, levels that change, policies, forks, finalisers, its end, and what it leaves behind."""

from __future__ import annotations

import os

import pytest

from order_rows import rows
from support import answer, ask, run_program
from workers import check_program

MILLION = int(os.environ.get("FASTLOCK_STRESS_LOCKS", "100000"))
HIGH, POSSIBLE = ["FL010 high"], ["FL010 possible"]


# ---- classes


def test_names_of_any_kind() -> None:
    """Empty, long, broken and foreign names are classes like any other, up to the text, the file and the drawings."""
    told = ask(
        """
        import enum, tempfile
        from order_rows import Stage
        class Name(str, enum.Enum):
            HOT = "hot"
        class Evil(str):
            def __eq__(self, other): raise ZeroDivisionError
            def __hash__(self): raise ZeroDivisionError
        fastlock.set_level("order")
        names = ["", "\\ud800", "a\\0b", "\\n\\x1b[31m\\t", "x" * 10_000, " -> ", "# fastlock", Name.HOT, Evil("evil"), "*", "é" * 60]
        stage = Stage(A=lambda _: fastlock.Lock(lock_class=name), B=lambda _: fastlock.RLock(name=name + "!"))
        for name in names:
            stage._locks.clear()
            stage.play("A B | B A")
        fastlock.watchdog.flush(90)
        graph = fastlock.order_graph()
        graph.to_dot(), graph.to_mermaid(), [f.to_dict() for f in fastlock.findings()]
        with tempfile.NamedTemporaryFile() as file:
            graph.save(file.name)
            again = fastlock.OrderGraph.load(file.name)
        tell([len(names), len(fastlock.findings()), len(graph.edges()) // 2, [e.first for e in again.edges()] == [e.first for e in graph.edges()],
              {type(e.first).__name__ for e in graph.edges()} | {type(l.name).__name__ for f in fastlock.findings() for l in f.locks}
              == {"str"}, "hot" in graph.classes])
        """
    )
    assert told == [11, 11, 11, True, True, True]


def test_classes_without_locks_make_room() -> None:
    """After 100,000 names that came and went orders are still learned, and what came through one that is gone is known."""
    told = ask(
        """
        fastlock.configure(level="order", suppress=["*"])
        def crowd(first):
            for number in range(first, first + 50_000):
                passing = fastlock.Lock(lock_class=f"name {number}")
                with outer:
                    with passing: pass
        def take(first, then):
            with first:
                with then: pass
        outer, end = fastlock.Lock(name="outer"), fastlock.Lock(name="end")
        through = fastlock.Lock(lock_class="through")
        hold = threading.Event()
        start(lambda: (take(outer, through), hold.wait())), start(lambda: (take(through, end), hold.wait()))
        wait_until(lambda: len(fastlock.order_graph().edges()) == 2)
        del through
        crowd(0)
        before = len(fastlock.order_graph().edges())
        crowd(50_000)
        after = fastlock.order_graph()
        take(end, outer)
        fastlock.watchdog.flush(90)
        last = fastlock.Lock(name="last")
        take(last, outer)
        tell([before > 1000, 1000 < len(after.edges()) < 70_000, after.full, [f.tier for f in fastlock.suppressed()],
              ("last", "outer") in [(edge.first, edge.then) for edge in fastlock.order_graph().edges()]])
        """
    )
    assert told == [True, True, False, ["possible"], True]


def test_no_class_is_taken_for_known() -> None:
    """The first classes of a process, wanted under each other whatever was configured before: every inversion is found."""
    told = ask(
        """
        from order_rows import Stage
        missed = []
        for times in range(6):
            if times:
                fastlock.configure(slow_wait=10 + times)
            for number in range(8):
                with Stage(kind=fastlock.RLock) as stage:
                    stage.play("A B | B A")
                    if stage.found() != ["FL010 high"]:
                        missed.append([times, number, stage.edges()])
        tell(missed)
        """,
        env={"FASTLOCK_LEVEL": "order"},
    )
    assert told == []


# ---- in the middle of everything


def test_finalisers_and_signal_handlers_that_take_locks() -> None:
    """A collection at every allocation, finalisers and handlers that nest locks themselves: no crash, nobody is left holding."""
    check_program(
        """
        import gc, random, signal, threading
        import fastlock
        fastlock.configure(level="order", suppress=["*"])
        count = 0
        common = fastlock.RLock(name="common")
        class Finalised:
            def __init__(self): self.me = self
            def __del__(self):
                global count
                count += 1
                with fastlock.Lock(lock_class=f"a{count % 50}"):
                    with fastlock.RLock(lock_class=f"a{count * 7 % 50}"):
                        with fastlock.RWLock(lock_class=f"b{count}").read(): pass
                with fastlock.RWLock().write():
                    with common: pass
        def handler(*_):
            Finalised()
            with fastlock.Lock(lock_class=f"h{random.randrange(20)}"):
                with common: pass
            if running: signal.setitimer(signal.ITIMER_REAL, 0.001)      # a steady timer never lets a slow machine come to an end
        def work(number):
            for step in range(400):
                with fastlock.Lock(lock_class=f"w{number}.{step % 100}"):
                    Finalised()
                    with fastlock.RLock(lock_class=f"w{random.randrange(100)}"):
                        Finalised()
                        with fastlock.Lock(name=f"n{step}", key=step): pass
                if step % 40 == 0:
                    fastlock.order_graph()
        running = True
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        gc.set_threshold(1)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads: thread.start()
        work(3)
        for thread in threads: thread.join()
        running = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.set_threshold(700)
        assert count > 1000 and not any(agent.holds for agent in fastlock.snapshot().agents)
        print("ok")
        """
    )


@pytest.mark.parametrize("where", ["keep = Last()", "sys.keep = Last()", "keep = Last(); keep.me = keep", "atexit.register(nest)"])
def test_locks_nested_as_the_interpreter_ends(where: str) -> None:
    """Finalisers that run when modules are gone, daemon and raw threads that are cut off while they learn: a quiet end."""
    done = run_program(
        f"""
        import _thread, atexit, sys, threading
        import fastlock
        fastlock.set_level("order")
        a, b, c = fastlock.Lock(name="a"), fastlock.RLock(name="b"), fastlock.RWLock()
        def nest():
            with a:
                with b:
                    with c.write(): pass
        class Last:
            def __del__(self, nest=nest): nest()
        {where}
        going = threading.Barrier(3)
        def learn():
            going.wait()
            while True:
                with fastlock.Lock(name="outer"):
                    with fastlock.RLock(): pass
        threading.Thread(target=learn, daemon=True).start()
        _thread.start_new_thread(learn, ())
        going.wait()
        print("end", flush=True)
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_a_thousand_threads() -> None:
    """Each takes twenty pairs in one order; the other order comes after all of them have been joined, and is silent."""
    told = ask(
        """
        fastlock.configure(level="order", suppress=["*"])
        locks = [fastlock.Lock(lock_class=f"class {number}") for number in range(100)]
        all_there = threading.Barrier(1001)
        def work(number):
            for step in range(20):
                with locks[(number + step) % 80]:
                    with locks[80 + step]: pass
            all_there.wait()
        threads = [start(work, number, name=f"w{number}") for number in range(1000)]
        all_there.wait()
        for thread in threads:
            thread.join()
        quiet = len(fastlock.suppressed()), sum(fastlock.order_graph().filtered.values())
        with locks[85]:
            with locks[7]: pass
        fastlock.watchdog.flush(90)
        tell([quiet, {repr(thread.error) for thread in threads} == {"None"}, dict(fastlock.order_graph().filtered)["happens-before"]])
        """
    )
    assert told == [[0, 0], True, 1]


# ---- levels

@pytest.mark.parametrize("who", ["itself", "another thread"])
@pytest.mark.parametrize("low", ["off", "detect"])
def test_the_level_changes_while_locks_are_held(low: str, who: str) -> None:
    """Every sequence of four steps between level changes: no error, no lock left, no false order; afterwards all is learned."""
    told = rows(
        f"""
        import itertools
        def level(name):
            worker = stage.crew[0 if {who!r} == "itself" else 1]
            worker.do(fastlock.set_level, name)
        wrong = []
        for levels in itertools.product(["order", {low!r}], repeat=5):
            fastlock.set_level("order")
            stage = Stage()
            seen = [name == "order" for name in levels]
            lines = ("A", "R1", "B", "/A")
            for name, line in zip(levels, lines):
                level(name)
                stage.begin(0, line)
            level(levels[4])
            stage.begin(0, "C")
            # An order is seen where the second one was taken at level order, and the first one too.
            expected = [pair for pair, first, then in (("A1", 0, 1), ("AB", 0, 2), ("1B", 1, 2), ("1C", 1, 4), ("BC", 2, 4))
                        if seen[first] and seen[then]]
            direct = set(stage.edges())
            if not direct <= set(expected) or not stage.found() == []:
                wrong.append([levels, sorted(direct), expected])
            # The one on top is never implied.
            top = {{"A1", "1B", "BC"}} & set(expected)
            if not top <= direct:
                wrong.append([levels, sorted(direct), sorted(top), "missed"])
            stage.end(0)
            level("order")
            stage.do(2, "B A"), stage.do(3, "A B")
            if stage.found() != ["FL010 high"] or any(agent.holds for agent in fastlock.snapshot().agents):
                wrong.append([levels, stage.found(), "afterwards"])
            stage.crew.__exit__(None)
        tell(wrong)
        """
    )
    assert told == []


# ---- policies

RAISES = {
    "the lock": ("on_inversion='raise'", "", "", True),
    "the process": ("", "fastlock.configure(on_inversion='raise')", "", True),
    "the lock says report": ("on_inversion='report'", "fastlock.configure(on_inversion='raise')", "", False),
    "nobody": ("", "", "", False),
    "only possible": ("on_inversion='raise'", "", "~", False),
}


@pytest.mark.parametrize("name", RAISES)
def test_on_inversion(name: str) -> None:
    """LockOrderError comes before the acquire, every time: nothing is taken, nothing is lost, and the right order goes on."""
    option, before, after, raises = RAISES[name]
    told = rows(
        f"""
        {before}
        stage = Stage(A=lambda row: fastlock.RLock(lock_class=row, {option}))
        stage.do(0, "A B")
        errors, held = [], []
        for _ in range(3):
            try:
                stage.begin(1, "B A{after}")
                errors.append(None)
            except fastlock.LockOrderError as error:
                errors.append([error.finding.code, error.finding.tier, isinstance(error, RuntimeError)])
            held.append([stage.lock(lock)._is_owned() if lock == "A" else stage.lock(lock).locked() for lock in "AB"])
            held.append([len(agent.holds) for agent in fastlock.snapshot().agents if agent.holds])
            stage.end(1)
        stage.do(0, "A B"), stage.do(1, "A B")
        tell([errors, held, stage.found(), stage.edges(), stage.lock("A").locked()])
        """
    )
    error = ["FL010", "high", True] if raises else None
    assert told[0] == [error] * 3
    assert told[1] == [[False, True], [1 if raises else 2]] * 3
    assert told[2] == (POSSIBLE if after else HIGH)
    assert told[3:] == [["AB"] if raises else ["AB", "BA"], False]


def test_on_inversion_raises_for_ranks() -> None:
    """FL011 is proven, so the policy acts on it, for every kind of lock, and never on a condition's re-acquisition."""
    told = rows(
        """
        fastlock.configure(on_inversion="raise")
        answers = []
        for kind in (fastlock.Lock, fastlock.RLock, "read", "write"):
            make = {name: lambda row, rank=rank: (fastlock.RWLock if isinstance(kind, str) else kind)(lock_class=row, rank=rank)
                    for name, rank in (("A", 1), ("B", 2))}
            stage = Stage(kind=kind, **make)
            for _ in range(2):
                try:
                    stage.do(0, "B A")
                except fastlock.LockOrderError as error:
                    answers.append(error.finding.code)
                stage.end(0)
            if not isinstance(kind, str):
                stage.do(0, "A B *A")
        tell(answers)
        """
    )
    assert told == ["FL011"] * 8


def test_nested_is_refused_without_the_lock_that_makes_it_safe() -> None:
    """RuntimeError where `under` is not held by this thread; nothing is acquired, and the sanction ends with the acquire."""
    told = rows(
        """
        make = {name: lambda row: fastlock.Lock(lock_class=row.partition(".")[0] + ".K") for name in ("a", "b", "c")}
        stage = Stage(**make)
        try:
            stage.do(0, "a b<P")
        except RuntimeError as error:
            refused = str(error)
        stage.end(0)
        free = not stage.lock("b").locked()
        stage.play("P a b<P c | P b a<P | P c b | c b")
        tell([refused, free, stage.found(), stage.filtered()])
        """
    )
    assert told == ["nested: the lock given as under= is not held by this thread", True, HIGH, []]


# ---- fork


def test_the_child_of_a_fork_goes_on_with_the_graph() -> None:
    """The child knows the parent's orders, learns its own, and neither hears of the other's; also while another thread learns."""
    told = rows(
        """
        import os
        stage = Stage()
        stage.do(0, "A B")
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                one, other = fastlock.Lock(), fastlock.RLock()
                with one:
                    with other: pass
        thread = start(busy)
        answers = []
        a, b = stage.lock("A"), stage.lock("B")
        for _ in range(20):
            reader, writer = os.pipe()
            with fastlock.RLock(name="held"):
                child = os.fork()
                if child == 0:
                    with b:
                        with a: pass
                    fastlock.watchdog.flush(90)
                    os.write(writer, repr(stage.found()).encode())
                    os._exit(0)
            os.waitpid(child, 0)
            answers.append(os.read(reader, 100).decode())
            os.close(reader), os.close(writer)
        stop.set(), thread.join()
        alone = stage.found()
        stage.do(1, "B A")
        tell([set(answers) == {"['FL010 high']"} or answers, alone, stage.found(), [repr(thread.error)]])
        """
    )
    assert told == [True, [], HIGH, ["None"]]


# ---- fingerprints

FINGERPRINT = """
import sys, threading, fastlock
{above}
fastlock.set_level("order")
class Shop:
    def __init__(self):
        self.stock = fastlock.Lock()
        self.books = fastlock.Lock()
    def sell(self):
        with self.stock:
            with self.books: pass
    def audit(self):
        with self.books:
            with self.stock: pass
shop, stop = Shop(), threading.Event()
def run(work, done):
    work(); done.set(); stop.wait()
for name, work in zip(sys.argv[1:], (shop.sell, shop.audit)):
    done = threading.Event()
    threading.Thread(target=run, args=(work, done), name=name, daemon=True).start()
    done.wait()
fastlock.watchdog.flush(90)
stop.set()
print(__import__("json").dumps([f.fingerprint for f in fastlock.findings()]))
"""


def test_the_fingerprint_is_stable() -> None:
    """Another run, other threads, and an edit above in the file do not change it."""
    prints = [
        answer(run_program(FINGERPRINT.replace("{above}", above), *names))
        for above, names in (
            ("", ("one", "two")),
            ("", ("Thread-17", "replica-2")),
            ("import json\n# a comment\ndef unrelated():\n    return json\n", ("one", "two")),
        )
    ]
    assert len(prints[0]) == 1
    assert prints[0] == prints[1] == prints[2]


# ---- memory


def test_counts_of_an_order_that_has_gone() -> None:
    """What a lock has counted for an order of locks of its class is not given to a new order after that one has gone."""
    told = ask(
        """
        fastlock.set_level("order")
        left, right = (fastlock.RLock(lock_class="account") for _ in range(2))
        for _ in range(100):
            with left, right: pass
        del left
        with fastlock.RLock(lock_class="a"), fastlock.RLock(lock_class="b"): pass
        tell([(e.first, e.then, e.count) for e in fastlock.order_graph().edges()])
        """
    )
    assert told == [["a", "b", 1]]


def test_locks_that_come_and_go_leave_nothing_behind() -> None:
    """A million locks made, taken under another one and dropped leave the resident size flat (FASTLOCK_STRESS_LOCKS=1000000)."""
    source = """
    import resource, gc
    fastlock.set_level("order")
    outer = fastlock.Lock(name="outer")
    def resident_kb():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() // 1024
    def work(count):
        for number in range(count):
            inner, other = fastlock.Lock(), fastlock.RLock(lock_class="inner")
            named = fastlock.Lock(name=f"name-{number}")
            with outer:
                with inner:
                    with other:
                        with named: pass
            # Two of one class: told apart, each an instance of its own.
            pair = [fastlock.Lock(lock_class="pair") for _ in range(2)]
            with pair[0]:
                with pair[1]: pass
    work(20_000)
    gc.collect()
    before = resident_kb()
    work(%d)
    gc.collect()
    fastlock.watchdog.flush(90)
    tell([before, resident_kb(), len(fastlock.findings()), len(fastlock.order_graph().edges())])
    """
    before, after, findings, edges = ask(source % (MILLION // 5), timeout_s=300)
    assert findings == 0
    assert after - before < 512, (before, after)
    assert edges < 600, "64 names, then their site"
