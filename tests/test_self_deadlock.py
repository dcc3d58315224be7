"""FL002: an agent that waits for what it holds itself, and the way it came there."""

from __future__ import annotations

import pytest

from support import PRELUDE, ask, run_program

# What a thread does to wait for a lock that it holds; each ends in a DeadlockError whose finding is told.
WAYS = {
    "direct": """
        def take():
            with lock:
                with lock: pass
        take()
        """,
    "direct, in a recursion": """
        def take(depth):
            with lock:
                take(depth + 1)
        take(0)
        """,
    "through a callback": """
        def each(callback):
            with lock:
                callback()
        def callback():
            with lock: pass
        each(callback)
        """,
    "through a callback into the same function": """
        def publish(*listeners):
            with lock:
                for listener in listeners:
                    listener()
        publish(lambda: publish())
        """,
    "in a signal handler": """
        import signal
        def handler(number, frame):
            with lock: pass
        signal.signal(signal.SIGUSR1, handler)
        def take():
            with lock:
                os.kill(os.getpid(), signal.SIGUSR1)
                for _ in range(1000): pass
        take()
        """,
    "in a signal handler that calls what it interrupts": """
        import signal
        def add(interrupted):
            with lock:
                if interrupted:
                    os.kill(os.getpid(), signal.SIGUSR1)
                    for _ in range(1000): pass
        signal.signal(signal.SIGUSR1, lambda number, frame: add(False))
        add(True)
        """,
    "in a finaliser": """
        class Connection:
            def __del__(self):
                try:
                    with lock: pass
                except fastlock.DeadlockError as error:
                    errors.append(error)
        def take():
            connection = Connection()
            with lock:
                del connection
        errors = []
        take()
        raise errors[0]
        """,
    "in a finaliser that calls what it interrupts": """
        import weakref
        class Connection: pass
        def give_back(connection=None):
            try:
                with lock:
                    del connection
            except fastlock.DeadlockError as error:
                errors.append(error)
        errors = []
        connection = Connection()
        weakref.finalize(connection, give_back)
        handed_over = [connection]; del connection
        def give_up():
            with lock:
                handed_over.clear()
        give_up()
        raise errors[0]
        """,
}


@pytest.mark.parametrize("program", WAYS.values(), ids=WAYS)
def test_the_way_in_is_told(program: str, request: pytest.FixtureRequest) -> None:
    """The reasons and the report say how an agent came to want what it holds."""
    way = request.node.callspec.id.partition(",")[0].partition(" that ")[0].partition(" into ")[0]
    finding, text, locked = ask(
        f"""
        fastlock.configure(on_deadlock="raise")
        lock = fastlock.Lock(name="lock")
        try:
            if True:{program.replace(chr(10), chr(10) + "        ")}
        except fastlock.DeadlockError as error:
            tell([error.finding.to_dict(), str(error.finding), lock.locked()])
        """
    )
    assert (finding["code"], finding["tier"], len(finding["agents"])) == ("FL002", "proven", 1)
    assert way in finding["reasons"]
    assert f"How           {way}" in text
    assert not locked
    edge = finding["edges"][0]
    assert edge["holds"] == edge["waits"]


KINDS = {
    "Lock": ("fastlock.Lock()", "__enter__", "__enter__"),
    "write in write": ("fastlock.RWLock()", "acquire_write", "acquire_write"),
    "read in write": ("fastlock.RWLock()", "acquire_write", "acquire_read"),
}


@pytest.mark.parametrize("lock, hold, want", KINDS.values(), ids=KINDS)
def test_each_lock_that_is_not_reentrant(lock: str, hold: str, want: str) -> None:
    """A Lock, and a write lock wanted in either mode by its writer, are proven self-deadlocks."""
    finding = ask(
        f"""
        lock = {lock}
        def twice():
            lock.{hold}()
            lock.{want}()
        start(twice)
        tell(found("FL002")[0].to_dict())
        """
    )
    assert (finding["tier"], finding["clears"], finding["reasons"]) == ("proven", False, ["confirmed twice", "direct"])
    edge = finding["edges"][0]
    assert [edge["held_at"]["line"], edge["wanted_at"]["line"]] == [7, 8]


def test_what_is_reentrant_is_no_finding() -> None:
    """An RLock inside itself and a read inside a read pass."""
    told = ask(
        """
        rlock, rwlock = fastlock.RLock(), fastlock.RWLock()
        with rlock, rlock, rwlock.read(), rwlock.read():
            pass
        tell([len(fastlock.findings()), rlock.locked(), rwlock.locked()])
        """
    )
    assert told == [0, False, False]


def test_a_lock_without_evidence_is_possible_and_late() -> None:
    """Somebody else may release a Lock taken by acquire(): nothing before slow_wait, then a possible finding."""
    told = ask(
        """
        fastlock.configure(on_deadlock="raise")
        lock = fastlock.Lock()
        def twice():
            lock.acquire()
            lock.acquire()
        first = start(twice)
        blocked("twice")
        early = len(fastlock.findings())
        lock.release()
        first.join()
        fastlock.configure(slow_wait=0.05)
        lock = fastlock.Lock()
        thread = start(twice)
        finding = found("FL002")[0]
        lock.release()
        thread.join()
        tell([early, finding.to_dict(), repr(first.error), repr(thread.error)])
        """
    )
    early, finding, *errors = told
    assert (early, finding["tier"], errors) == (0, "possible", ["None", "None"])
    assert finding["edges"][0]["since_s"] >= 0.05


def test_a_timeout_makes_it_clear_by_itself() -> None:
    """A self-deadlock with a timeout is will-clear, and the acquire then fails as it always does."""
    told = ask(
        """
        lock = fastlock.Lock()
        with lock:
            got = lock.acquire(timeout=0.05)
        finding = found("FL002")[0]
        tell([got, finding.tier, finding.clears, len(fastlock.snapshot().waits)])
        """
    )
    assert told == [False, "will-clear", True, 0]


def test_a_handler_that_waits_inside_a_wait() -> None:
    """A signal handler in a waiting thread wants a lock of that thread: the inner wait is the self-deadlock."""
    told = ask(
        """
        import signal
        fastlock.configure(on_deadlock="raise")
        mine, theirs = fastlock.Lock(name="mine"), fastlock.Lock(name="theirs")
        caught = []
        def handler(number, frame):
            try:
                with mine: pass
            except fastlock.DeadlockError as error:
                caught.append(error.finding)
        signal.signal(signal.SIGUSR1, handler)
        def owner():
            with theirs:
                taken.set()
                blocked("MainThread")
                os.kill(os.getpid(), signal.SIGUSR1)
                wait_until(lambda: caught)
        taken = threading.Event()
        with mine:
            thread = start(owner); taken.wait()
            with theirs:
                pass
        thread.join()
        tell([caught[0].code, caught[0].locks[0].name, caught[0].reasons, len(fastlock.snapshot().waits)])
        """
    )
    assert told == ["FL002", "mine", ["confirmed twice", "in a signal handler"], 0]


@pytest.mark.parametrize("lock, want", [("fastlock.Lock()", "acquire"), ("fastlock.RWLock()", "acquire_write")])
def test_one_line_has_one_raw_report(lock: str, want: str) -> None:
    """However often a line closes a circle, and whatever the interpreter makes of it meanwhile, it is reported once, by one site."""
    program = f"""
lock = {lock}
def twice():
    try:
        lock.{want}()
        lock.{want}()
    except fastlock.DeadlockError: pass
    finally: lock.{want.replace("acquire", "release")}()
with lock if hasattr(lock, "__enter__") else lock.write(): pass
fastlock.configure(on_deadlock="raise")
for _ in range(100): twice()
found("FL002")
"""
    done = run_program(PRELUDE + program)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("fastlock: FL002") == 1, done.stderr
