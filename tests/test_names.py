"""What reports call a lock: its name, else the variable it was assigned to, else its kind and creation site."""

from __future__ import annotations

import sys

import pytest

from support import ask

QUALIFIED = sys.version_info >= (3, 11)  # 3.10's code objects do not know the class they are in

# Each makes a lock and binds it to `lock`; the last line is what it should be called.
NAMED = {
    "module variable": ("ledger_lock = fastlock.Lock(); lock = ledger_lock", "ledger_lock"),
    "annotated": ("ledger_lock: object = fastlock.RLock(); lock = ledger_lock", "ledger_lock"),
    "chained": ("first = second = fastlock.Lock(); lock = first", "first"),
    "walrus": ("if (walrus := fastlock.Lock()): lock = walrus", "walrus"),
    "local variable": ("def make():\n    mine = fastlock.Lock()\n    return mine\nlock = make()", "mine"),
    "cell variable": ("def make():\n    mine = fastlock.Lock()\n    return lambda: mine\nlock = make()()", "mine"),
    "global in a function": ("def make():\n    global made\n    made = fastlock.Lock()\nmake(); lock = made", "made"),
    "attribute of self": (
        "class Pool:\n    def __init__(self):\n        self._lock = fastlock.Lock()\nlock = Pool()._lock",
        "Pool._lock",
    ),
    "attribute in a local class": (
        "def make():\n    class Pool:\n        def __init__(self):\n            self._lock = fastlock.Lock()\n"
        "    return Pool()\nlock = make()._lock",
        "Pool._lock",
    ),
    "class attribute": ("class Pool:\n    shared = fastlock.Lock()\nlock = Pool.shared", "Pool.shared"),
    "attribute of a variable": ("class P: pass\npool = P(); pool.lock = fastlock.Lock(); lock = pool.lock", "pool.lock"),
    "first of two": ("lock_a, lock_b = fastlock.Lock(), fastlock.Lock(); lock = lock_a", "lock_a"),
    "second of two": ("lock_a, lock_b = fastlock.Lock(), fastlock.Lock(); lock = lock_b", "lock_b"),
    "second of three": ("a, b, c = fastlock.Lock(), fastlock.Lock(), fastlock.Lock(); lock = b", "b"),
    "third of four": ("a, b, c, d = fastlock.Lock(), fastlock.Lock(), fastlock.Lock(), fastlock.Lock(); lock = c", "c"),
    "beside something else": ("a, b = 1, fastlock.Lock(timeout=3); lock = b", "b"),
    "before something else": ("x = 1\na, b = fastlock.Lock(), str(x).upper(); lock = a", "a"),
    "inner tuple": ("(a, b), c = (fastlock.Lock(), fastlock.Lock()), fastlock.RLock(); lock = b", "b"),
    "list of targets": ("[a, b] = [fastlock.Lock(), fastlock.Lock()]; lock = a", "a"),
    "two locals": ("def make():\n    a, b = fastlock.Lock(), fastlock.Lock()\n    return b\nlock = make()", "b"),
    "three locals": (
        "def make():\n    a, b, c = fastlock.Lock(), fastlock.Lock(), fastlock.Lock()\n    return a\nlock = make()",
        "a",
    ),
    "many locals": (
        "def make():\n    a, b, c, d, e = [fastlock.Lock(), fastlock.Lock(), fastlock.Lock(), fastlock.Lock(), fastlock.Lock()]\n"
        "    return d\nlock = make()",
        "d",
    ),
    "local and cell": (
        "def make():\n    a, b = fastlock.Lock(), fastlock.Lock()\n    return lambda: b\nlock = make()()",
        "b",
    ),
    "two globals in a function": (
        "def make():\n    global a, b\n    a, b = fastlock.Lock(), fastlock.Lock()\nmake(); lock = b",
        "b",
    ),
    "first attribute of two": (
        "class Pool:\n    def __init__(self):\n        self._lock, self.b = fastlock.Lock(), fastlock.Lock()\nlock = Pool()._lock",
        "Pool._lock",
    ),
    "second attribute of two": (
        "class Pool:\n    def __init__(self):\n        self.a, self._lock = fastlock.Lock(), fastlock.Lock()\nlock = Pool()._lock",
        "Pool._lock",
    ),
    "attribute and local": (
        "class Pool:\n    def __init__(self):\n        mine, self._lock = fastlock.Lock(), fastlock.Lock()\nlock = Pool()._lock",
        "Pool._lock",
    ),
    "attribute of a cell variable": (
        "class P: pass\ndef make():\n    pool = P()\n    pool.lock = fastlock.Lock()\n    return lambda: pool\nlock = make()().lock",
        "pool.lock",
    ),
    "beside an item": ("locks = {}\nlocks['a'], b = fastlock.Lock(), fastlock.Lock(); lock = b", "b"),
    "item beside": ("locks = {}\nlocks['a'], b = fastlock.Lock(), fastlock.Lock(); lock = locks['a']", "Lock@program.py:5"),
    "tuple and its parts": ("both = a, b = fastlock.Lock(), fastlock.Lock(); lock = b", "b"),
    "argument of what is stored": ("changed = str and fastlock.Condition(fastlock.Lock()); lock = changed", "changed"),
    "with keywords": ("ledger_lock = fastlock.Lock(timeout=3); lock = ledger_lock", "ledger_lock"),
    "RWLock": ("shared = fastlock.RWLock(prefer='reader'); lock = shared", "shared"),
    "Condition": ("changed = fastlock.Condition(); lock = changed", "changed"),
    "Semaphore": ("permits = fastlock.Semaphore(1); lock = permits", "permits"),
    "name": ("lock = fastlock.Lock(name='ledger')", "ledger"),
    "name of a Semaphore": ("lock = fastlock.BoundedSemaphore(1, name='permits')", "permits"),
    "list comprehension": ("lock = [fastlock.Lock() for _ in range(3)][1]", "Lock@program.py:4"),
    "dict": ("locks = {'a': fastlock.RLock()}; lock = locks['a']", "RLock@program.py:4"),
    "item of a dict": ("locks = {}\nlocks['a'] = fastlock.Lock(); lock = locks['a']", "Lock@program.py:5"),
    "argument": ("def use(lock): return lock\nlock = use(use(fastlock.RWLock()) and use(fastlock.RLock()))", None),
    "made by the standard library": (
        "import queue\nfastlock.install()\njobs = queue.Queue()\nlock = jobs.mutex",
        "jobs",
    ),
}


def name_of(source: str) -> list[str]:
    """Return name and class in the snapshot of the lock that the source binds to `lock`."""
    program = f"{source}\n(lock.acquire_write if hasattr(lock, 'acquire_write') else lock.acquire)()\n"
    program += "tell([[each.name, each.lock_class] for each in fastlock.snapshot().locks][-1])\n"
    return ask(program)


@pytest.mark.parametrize("source, expected", NAMED.values(), ids=NAMED)
def test_a_lock_is_called_by_its_variable(source: str, expected: str | None) -> None:
    """The variable at the creation site, qualified by the class for self; otherwise kind and line; never an address."""
    name, _ = name_of(source)
    if expected is None:
        assert "0x" not in name
    elif expected == "Pool._lock" and not QUALIFIED:
        assert name in (expected, "_lock")
    else:
        assert name == expected


CLASSES = {
    "class": ("lock = fastlock.Lock(lock_class='accounts')", ["lock", "accounts"]),
    "name and class": ("lock = fastlock.Lock(name='account 7', lock_class='accounts')", ["account 7", "accounts"]),
    "name only": ("lock = fastlock.Lock(name='ledger')", ["ledger", "ledger"]),
    "neither": ("ledger_lock = fastlock.Lock(); lock = ledger_lock", ["ledger_lock", "ledger_lock@program.py"]),
}


@pytest.mark.parametrize("source, expected", CLASSES.values(), ids=CLASSES)
def test_the_class_is_lock_class_else_name_else_the_site(source: str, expected: list[str]) -> None:
    """Reports use the name, fingerprints the class; the class of a site has no line number in it."""
    assert name_of(source) == expected


def test_more_than_64_names_of_one_site_count_as_the_site() -> None:
    """Locks named one by one keep their names, and the later ones have the class of their site."""
    locks = ask(
        """
        locks = [fastlock.Lock(name=f"conn-{number}") for number in range(70)]
        for lock in locks:
            lock.acquire()
        tell([[each.name, each.lock_class] for each in fastlock.snapshot().locks])
        """
    )
    assert [name for name, _ in locks] == [f"conn-{number}" for number in range(70)]
    assert locks[0][1] == "conn-0"
    assert {lock_class for _, lock_class in locks[:64]} == {name for name, _ in locks[:64]}
    assert {lock_class for _, lock_class in locks[64:]} == {locks[-1][1]}
    assert "conn" not in locks[-1][1]
    assert "program.py" in locks[-1][1]


def test_as_many_names_from_different_sites_are_kept() -> None:
    """The limit is one of a site: names of other sites keep their class."""
    assert (
        ask(
            """
        many = [fastlock.Lock(name=f"conn-{number}") for number in range(70)]
        one = fastlock.Lock(name="ledger")
        one.acquire()
        tell([each.lock_class for each in fastlock.snapshot().locks])
        """
        )
        == ["ledger"]
    )


def test_names_in_a_finding() -> None:
    """Two locks of one name are told apart by a number, and a given name wins over the variable."""
    text, names = ask(
        """
        class Account:
            def __init__(self):
                self.lock = fastlock.RLock()
        ring([Account().lock, Account().lock])
        finding = found("FL001")[0]
        tell([str(finding), [lock.name for lock in finding.locks]])
        """
    )
    assert names == ["Account.lock" if QUALIFIED else "lock"] * 2
    assert f"{names[0]} #1" in text
    assert f"{names[0]} #2" in text
    assert "fastlock.acquire_all" in text


def test_thread_names_are_those_of_the_moment() -> None:
    """A thread that has been renamed is reported by its new name, and a nameless one by its number."""
    names = ask(
        """
        import _thread
        lock = fastlock.RLock()
        def renamed():
            with lock:
                threading.current_thread().name = "after"
                taken.set()
                threading.Event().wait()
        taken = threading.Event()
        start(renamed, name="before"); taken.wait()
        _thread.start_new_thread(lock.acquire, ())
        wait_until(lambda: fastlock.snapshot().waits)
        tell([agent.name for agent in fastlock.snapshot().agents])
        """
    )
    assert names[0] == "after"
    assert names[1].startswith("Thread ")
    assert names[1].split()[1].isdigit()


def test_a_lock_made_by_a_class_of_the_standard_library_is_the_callers() -> None:
    """What made it is the first line outside, also where the interpreter has a frame of its own before each __init__."""
    assert ask(
        """
        import fastlock
        fastlock.install()
        from concurrent.futures import Future
        def make():
            return Future()
        places = set()
        for _ in range(100):
            with make()._condition:
                lock, = fastlock.snapshot().locks
                places.add((lock.created.function, lock.created.text))
        tell(sorted(places))
        """
    ) == [["make", "return Future()"]]


# ---- classes of files of one name

SERVICES = """
import pathlib, sys, tempfile
from workers import Worker
root = pathlib.Path(tempfile.mkdtemp())
sys.path.insert(0, str(root))
for name in sys.argv[1:]:
    directory = root / name
    directory.mkdir(parents=True)
    (directory / "locks.py").write_text("import fastlock\\nlock = fastlock.RLock()\\ndef make(): return [fastlock.RLock()]\\n")
def service(name):
    return __import__(f"{name.replace('/', '.')}.locks", fromlist=["lock"])
fastlock.configure(level="order", suppress=["lock@locks.py"])
main_lock = fastlock.RLock(name="main")
def take(first, then):
    with first, then: pass
"""


def test_files_of_one_name_have_classes_of_their_own() -> None:
    """As many directories are named as it takes, and none where there is but one such file."""
    told = ask(
        SERVICES
        + """
alone = service(sys.argv[1])
take(main_lock, alone.lock)
before = [edge.then for edge in fastlock.order_graph().edges()]
for name in sys.argv[2:]:
    take(alone.lock, service(name).lock)
    take(alone.make()[0], service(name).make()[0])
graph = fastlock.order_graph()
tell([before, [f"{edge.first} {edge.then}" for edge in graph.edges()], len(graph.cycles())])
""",
        "shop/a",
        "bank/a",
        "bank/b",
    )
    shop, others = "shop/a/locks.py", ["b/locks.py", "bank/a/locks.py"]
    made = [f"RLock@{shop}:make RLock@{other}:make" for other in others]
    assert told == [["lock@locks.py"], [*made, *(f"lock@{shop} lock@{other}" for other in others), f"main lock@{shop}"], 0]


def test_the_fingerprint_and_suppression_know_no_directories() -> None:
    """A finding is the same whether or not another file of the name has been met, and so is what suppresses it."""
    seen = [
        ask(
            SERVICES
            + """
alone = service(sys.argv[1])
[take(main_lock, service(name).lock) for name in sys.argv[2:]]
one, other = Worker(), Worker()
one.do(take, main_lock, alone.lock), other.do(take, alone.lock, main_lock)
fastlock.watchdog.flush(90)
tell([[lock.lock_class for lock in finding.locks] + [finding.fingerprint] for finding in fastlock.suppressed()])
""",
            *names,
        )
        for names in (["shop"], ["shop", "bank"])
    ]
    (one,), (other,) = seen
    assert one[-1] == other[-1]
    assert {*one[:-1], *other[:-1]} == {"main", "lock@locks.py", "lock@shop/locks.py"}
