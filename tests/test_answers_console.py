"""What a process tells the console over its socket: lock classes, the order graph, where an agent is; right, bounded, and refused where it makes no sense."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fastlock import answers, asked, calling, whereabouts
from live import Live, running
from support import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the credentials of who connects")

SCENE = """
import asyncio
fastlock.set_level("order")
cache, ledger = threading.Lock(), fastlock.Lock(name="ledger", lock_class="books")
others = [fastlock.RWLock(lock_class="tables") for _ in range(7)]
gone = [threading.Lock() for _ in range(50)]
del gone
def one():
    with cache:
        with ledger: pass
def two():
    with ledger:
        with cache: pass
for each in range(3):
    thread = threading.Thread(target=one); thread.start(); thread.join()
first, second = threading.Thread(target=one), threading.Thread(target=two)
both = threading.Barrier(2)
def beside(function):
    both.wait(); function(); both.wait()          # neither before the other: an inversion
go = threading.Lock()
def first_then(): 
    both.wait(); one(); go.release(); both.wait()
def second_then():
    both.wait(); go.acquire(); two(); both.wait()
go.acquire()
pair = [start(first_then), start(second_then)]
for each in pair: each.join()
held = threading.Event()
def holder():
    with ledger:
        held.set(); threading.Event().wait()
start(holder); held.wait()
def wanting(): ledger.acquire()
start(wanting)
async def main():
    lock = fastlock.aio.Lock(name="of tasks")
    async def inner():
        await lock.acquire()
    own = fastlock.aio.Lock(name="outer's")
    async def outer():
        async with own:
            asyncio.create_task(own.acquire(), name="behind")
            await asyncio.gather(asyncio.create_task(inner(), name="inner"))
    async with lock:
        asyncio.create_task(outer(), name="outer")
        await asyncio.sleep(1000)
def looper(): asyncio.run(main())
start(looper)
blocked("wanting", "inner", "behind")
ready(); stay()
"""


@pytest.fixture(scope="module")
def scene() -> Iterator[Live]:
    """A process with an inversion, a wait for a lock, and tasks that await each other."""
    with running(SCENE, stderr=-3) as live:
        live.path()
        yield live


def ask(live: Live, **request: Any) -> dict[str, Any]:
    """Ask the process."""
    return calling.call(live.pid, request, 30)


def agents(live: Live) -> dict[str, int]:
    """Return the ids of the process's agents by name, as the table has them."""
    from fastlock.outside import open_table

    with open_table(live.pid) as table:
        return {agent["name"]: agent["id"] for agent in table.snapshot()["agents"]}


def where(live: Live, name: str) -> dict[str, Any]:
    """Return where the agent of that name is."""
    (told,) = ask(live, do="agent", agent=agents(live)[name])["agents"]
    return told


def texts(stack: list[dict[str, Any]]) -> list[str]:
    """Return the source lines of a stack."""
    return [site["text"] for site in stack]


# ---- classes


def test_classes_are_counted(scene: Live) -> None:
    """Each class has its living locks, those that are gone not among them, and the waits that have begun; the contended ones come first."""
    answer = ask(scene, do="classes")
    classes = {each["name"]: each for each in answer["classes"]}
    assert answer["cut"] == 0 and len(classes) == len(answer["classes"])
    books, tables = classes["books"], classes["tables"]
    assert (books["kind"], books["instances"], books["contentions"]) == ("Lock", 1, 1)
    assert (tables["kind"], tables["instances"], tables["contentions"], tables["waits"], tables["buckets"]) == ("RWLock", 7, 0, 0, [])
    assert not any(name.startswith("gone@") for name in classes)
    contentions = [each["contentions"] for each in answer["classes"]]
    assert contentions == sorted(contentions, reverse=True)
    from fastlock.outside import open_table

    with open_table(scene.pid) as table:
        waited_for = {lock["class"] for lock in table.snapshot()["locks"] if lock["waiters"] and lock["name"] in ("ledger", "of tasks")}
    assert waited_for and waited_for <= set(classes)


def test_waits_have_a_histogram() -> None:
    """A wait that is over is in the sum and in a bucket; what has begun and is not over is a contention more."""
    source = """
    lock = fastlock.Lock(lock_class="waited for")
    lock.acquire()
    waiter = start(lock.acquire, name="waiter"); blocked("waiter"); lock.release(); waiter.join()
    start(lock.acquire, name="other"); blocked("other")
    ready(); stay()
    """
    with running(source) as live:
        live.path()
        (row,) = [each for each in ask(live, do="classes")["classes"] if each["name"] == "waited for"]
    assert (row["instances"], row["contentions"], row["waits"]) == (1, 2, 1)
    assert 0 < row["waited_s"] and row["buckets"][-1] == [60.0, 1]
    assert [number for _, number in row["buckets"]] == sorted(number for _, number in row["buckets"])


def test_classes_without_a_record_of_their_own_say_so() -> None:
    """Beyond metric_classes waits are told under "other", and of a class that may be in it they are not known."""
    source = """
    fastlock.configure(metric_classes=1)
    for name in ("first", "second"):
        lock = fastlock.Lock(lock_class=name); lock.acquire()
        start(lock.acquire, name=name); blocked(name)
        globals()[name] = lock
    ready(); stay()
    """
    with running(source) as live:
        live.path()
        classes = {each["name"]: each for each in ask(live, do="classes")["classes"]}
    assert classes["first"]["contentions"] == 1 and classes["second"]["contentions"] is None
    assert (classes["other"]["instances"], classes["other"]["contentions"], classes["second"]["instances"]) == (None, 1, 1)


def test_more_classes_than_there_is_room_for() -> None:
    """Of thousands of classes the largest are told, how many are not is said, and the answer has its limit."""
    source = """
    locks = [fastlock.Lock(lock_class=f"class {number} " + 300 * "x") for number in range(1500)]
    many = [fastlock.Lock(lock_class="many") for _ in range(20)]
    ready(); stay()
    """
    with running(source) as live:
        live.path()
        answer = ask(live, do="classes")
    assert answer["classes"][0]["name"] == "many" and answer["classes"][0]["instances"] == 20
    assert 0 < len(answer["classes"]) < 1000 and len(answer["classes"]) + answer["cut"] >= 1501
    assert len(json.dumps(answer)) < 256 * 1024


# ---- the order of locks


def test_order_has_the_inversion_first(scene: Live) -> None:
    """Both orders are told with their lines, the circle with its source, and the counts are those of order_graph()."""
    answer = ask(scene, do="order")
    (cycle,) = answer["cycles"]
    assert answer["level"] == "order" and answer["whole"] and answer["cut"] == {"edges": 0, "cycles": 0}
    assert sorted(cycle["classes"]) == ["books", "cache@program.py"] and cycle["tier"] == "high"
    edges = {(edge["first"], edge["then"]): edge for edge in cycle["edges"]}
    one = edges["cache@program.py", "books"]
    assert (one["held_at"]["text"], one["wanted_at"]["text"], one["wanted_at"]["function"]) == ("with cache:", "with ledger: pass", "one")
    listed = {(edge["first"], edge["then"]): edge["count"] for edge in answer["edges"]}
    assert listed["cache@program.py", "books"] == 4 and listed["books", "cache@program.py"] == 1
    assert set(list(listed)[:2]) == set(edges)
    assert {node["name"] for node in answer["classes"]} >= {"books", "cache@program.py"}


def test_order_where_nothing_is_learned() -> None:
    """Below level order the graph is empty, and the level says why."""
    with running("ready(); stay()") as live:
        live.path()
        answer = ask(live, do="order")
    assert (answer["level"], answer["edges"], answer["cycles"]) == ("detect", [], [])


def test_more_orders_than_there_is_room_for() -> None:
    """Of many orders the most frequent are told; how many are not is said, and the answer has its limit."""
    source = """
    fastlock.set_level("order")
    locks = [fastlock.Lock(lock_class=f"{number}" + 200 * "y") for number in range(40)]
    for one in range(40):
        for other in range(one):
            with locks[other]:
                with locks[one]: pass
    for _ in range(9):
        with locks[3]:
            with locks[7]: pass
    ready(); stay()
    """
    with running(source) as live:
        live.path()
        answer = ask(live, do="order")
    most = answer["edges"][0]
    assert most["count"] == 10 and most["first"].startswith("3y") and most["then"].startswith("7y")
    assert len(answer["edges"]) + answer["cut"]["edges"] == 40 * 39 // 2 and answer["cut"]["edges"] > 0
    assert len(json.dumps(answer)) < 256 * 1024


# ---- agents


def test_where_a_thread_is(scene: Live) -> None:
    """A thread's stack ends in the line of the program where it waits."""
    told = where(scene, "wanting")
    assert (told["kind"], told["state"], told["doing"], told["awaits"], told["why"]) == ("thread", "alive", "", [], "")
    assert texts(told["stack"])[-1] == "def wanting(): ledger.acquire()" and told["loop_does"] is None


def test_where_a_task_is(scene: Live) -> None:
    """A suspended task has its chain of awaits and whom it awaits, with the other's id where that has one; and what its loop does."""
    told = where(scene, "outer")
    inner = agents(scene)["inner"]
    assert (told["kind"], told["doing"], told["loop"]) == ("task", "suspended", "looper")
    assert "await asyncio.gather(" in texts(told["stack"])[-1]
    assert told["awaits"] == [
        {"who": {"id": told["id"], "kind": "task", "name": "outer"}, "whom": {"id": inner, "kind": "task", "name": "inner"}, "how": "gather()"}
    ]
    assert texts(where(scene, "inner")["stack"]) == ["await lock.acquire()"]
    assert told["loop_does"]["running"] is None and told["loop_does"]["timers"] == 1
    assert any("select" in site["function"] for site in told["loop_does"]["stack"])


def test_what_a_stopped_loop_does() -> None:
    """A task that blocks its loop is told so, and another one of the loop where the loop is and what it runs."""
    source = """
    import asyncio
    lock = threading.Lock(); lock.acquire()
    async def main():
        other = fastlock.aio.Lock()
        async def stuck(): lock.acquire()
        async def patient(): await other.acquire()
        async with other:
            asyncio.create_task(patient(), name="patient")
            await asyncio.sleep(0)
            await asyncio.create_task(stuck(), name="stuck")
    def looper(): asyncio.run(main())
    start(looper); blocked("looper", "patient")
    ready(); stay()
    """
    with running(source, stderr=-3) as live:
        live.path()
        told = where(live, "patient")
        loop = where(live, "looper")
    assert told["doing"] == "suspended" and told["loop_does"]["running"] == "stuck" and told["loop_does"]["thread"] == loop["id"]
    assert texts(told["loop_does"]["stack"])[-1] == "async def stuck(): lock.acquire()" == texts(loop["stack"])[-1]
    assert loop["loop_does"]["running"] == "stuck"


def test_agents_that_are_none(scene: Live) -> None:
    """Ids of nobody are said to be unknown; several agents are told at once, each once."""
    ids = agents(scene)
    answer = ask(scene, do="agent", agents=[ids["holder"], 0, ids["wanting"], ids["holder"], (1 << 56) - 1, ids["holder"] + (1 << 24)])
    assert [each["id"] for each in answer["agents"]] == [ids["holder"], ids["wanting"]]
    assert answer["unknown"] == [0, (1 << 56) - 1, ids["holder"] + (1 << 24)]


def test_an_agent_that_has_ended() -> None:
    """The thread that ended while it held a lock that is waited for has no stack any more, and that is said."""
    source = """
    lock = threading.Lock()
    start(lock.acquire, name="gone").join()
    start(lock.acquire, name="waits"); blocked("waits")
    ready(); stay()
    """
    with running(source, stderr=-3) as live:
        live.path()
        told = where(live, "gone")
    assert (told["state"], told["stack"], told["why"]) == ("ended", [], "it has ended")


def test_what_cannot_be_read_is_said() -> None:
    """A task of the program's own making that raises when it is looked at costs its own row a sentence, and nothing else."""
    source = """
    import asyncio
    class Strange(asyncio.Task):
        def get_coro(self):
            if looked_at: raise OSError("not now")
            return super().get_coro()
    looked_at = False
    async def main():
        asyncio.get_running_loop().set_task_factory(lambda loop, coro, **more: Strange(coro, loop=loop, **more))
        lock = fastlock.aio.Lock()
        async def waits(): await lock.acquire()
        async with lock:
            asyncio.create_task(waits(), name="strange")
            await asyncio.sleep(1000)
    def looper(): asyncio.run(main())
    start(looper); blocked("strange")
    looked_at = True
    ready(); stay()
    """
    with running(source, stderr=-3) as live:
        live.path()
        told = where(live, "strange")
    assert told["why"] == "not all of it can be read: OSError"


def test_a_deep_stack_is_cut() -> None:
    """Of a thousand frames the innermost are told, of a long line its beginning."""
    source = """
    lock = threading.Lock(); lock.acquire()
    def deep(number):
        return deep(number - 1) if number else lock.acquire()  # XXXX
    start(deep, 900, name="deep"); blocked("deep")
    ready(); stay()
    """
    with running(source.replace("XXXX", 5000 * "x")) as live:
        live.path()
        told = where(live, "deep")
    assert len(told["stack"]) == 40 and all(len(site["text"]) <= 200 for site in told["stack"])


# ---- hostile requests, and others who run meanwhile

HOSTILE: list[dict[str, Any]] = [
    {"do": "classes", "surprise": 1},
    {"do": "order", "edges": 10**9},
    {"do": "agent"},
    {"do": "agent", "agent": None},
    {"do": "agent", "agent": True},
    {"do": "agent", "agent": -1},
    {"do": "agent", "agent": 1 << 56},
    {"do": "agent", "agent": 10**400},
    {"do": "agent", "agent": 1.0},
    {"do": "agent", "agent": float("nan")},
    {"do": "agent", "agent": "1"},
    {"do": "agent", "agent": [1]},
    {"do": "agent", "agents": 1},
    {"do": "agent", "agents": []},
    {"do": "agent", "agents": {"1": 1}},
    {"do": "agent", "agents": [[]]},
    {"do": "agent", "agents": [1, True]},
    {"do": "agent", "agents": list(range(17))},
    {"do": "agent", "agent": 1, "agents": [1]},
    {"do": "agent", "agent": 1, "stack": "\ud800" * 100},
]


@pytest.mark.parametrize("request_", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_requests_are_refused(request_: dict[str, Any]) -> None:
    """Each is refused in one short line."""
    told = json.loads(answers.answer(json.dumps({"fastlock": 1, **request_}).encode()))
    assert told["ok"] is False and len(told["error"]) < 200 and "\n" not in told["error"]


def test_others_run_between_the_slices() -> None:
    """A walk is cut into slices, between which another thread gets its turn; the sum is that of a walk at once."""
    import fastlock

    locks = [fastlock.Lock(lock_class="sliced") for _ in range(3000)]
    turns, slices = asked.Turns(), []
    ran = threading.Event()

    def go_on(most_ns: int) -> bool:
        slices.append(most_ns)
        if len(slices) == 1:
            threading.Thread(target=ran.set).start()
        return instances.go_on(1) or not ran.is_set()

    from fastlock import _asked

    instances = _asked.Instances()
    turns._end = float("inf")
    assert turns.through(go_on) and len(slices) > 3
    named = {_asked.class_of_key(key): number for key, number in instances.by_key.items() if key is not None}
    assert named["sliced", "Lock"] == len(locks)


def test_an_answer_that_takes_too_long_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no time to count, the numbers of living locks are not known, and the rest is told all the same."""
    import fastlock

    lock = fastlock.Lock(lock_class="waited for in vain")
    more = [fastlock.Lock() for _ in range(2000)]  # than one slice has
    lock.acquire()
    waiter = threading.Thread(target=lock.acquire, daemon=True)
    waiter.start()
    wait_until(lambda: fastlock.metrics().waiting_agents)
    monkeypatch.setattr(asked, "LIMIT_S", -1.0)
    monkeypatch.setattr(asked, "SLICE_NS", -1)
    told = json.loads(answers.answer(b'{"fastlock": 1, "do": "classes"}'))
    order = json.loads(answers.answer(b'{"fastlock": 1, "do": "order"}'))
    lock.release()
    waiter.join()
    lock.release()
    (row,) = [each for each in told["classes"] if each["name"] == "waited for in vain"]
    assert len(more) == 2000 and row["instances"] is None and row["contentions"] == 1
    assert order["whole"] is False


def test_an_answer_gives_way_to_a_fork() -> None:
    """A process that forks all the time answers all the same: what a fork has broken off is asked again, and children and parent go on."""
    source = """
    locks = [threading.Lock() for _ in range(200_000)]
    def forks():
        while True:
            child = os.fork()
            if child == 0: os._exit(0)
            os.waitpid(child, 0)
            print("forked", flush=True); sys.stdin.readline()
    ready(); forks()
    """
    with running(source) as live:
        live.path()
        for _ in range(5):
            live.line()
            live.go_on()
            answer = ask(live, do="classes")
            assert max(each["instances"] for each in answer["classes"]) >= 200_000


def test_an_older_process_is_told_apart() -> None:
    """A request that a process does not know is refused by name, in words that say which there are."""
    told = json.loads(answers.answer(b'{"fastlock": 1, "do": "colours"}'))
    assert told["error"].startswith("there is no request 'colours', only level, status, deadlocks, classes, order, agent")


def test_limits_are_what_the_docs_say() -> None:
    """An answer's rows and what is around them stay below 256 KiB."""
    assert asked.MOST_BYTES + 16_000 < 256 * 1024 and whereabouts.MOST_AGENTS == 16
