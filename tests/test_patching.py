"""install and uninstall: what they replace, what they leave alone, what they refuse."""

from __future__ import annotations

import _thread
import functools
import importlib.util
import logging
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastlock
from fastlock import patching
from fastlock.errors import FastlockError

NAMES = ("Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier")


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Start and end without our patches, unless the whole run is under them."""
    before = patching.installed()
    patching.uninstall()
    yield
    patching.uninstall()
    if before:
        patching.install()


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    """Provide an imported module for a test to fill."""
    made = types.ModuleType("test_patching_probe")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


def everything() -> dict[tuple[str, str], int]:
    """Return the identity of each global of each module that is callable or a lock."""
    return {
        (name, key): id(value)
        for name, loaded in sys.modules.copy().items()
        if type(loaded) is types.ModuleType and loaded is not patching
        for key, value in vars(loaded).copy().items()
        if callable(value) or hasattr(type(value), "acquire")
    }


@pytest.mark.parametrize("name", NAMES)
def test_factories_are_ours_meanwhile(name: str) -> None:
    """threading's public factories are fastlock's between install and uninstall."""
    before = getattr(threading, name)
    arguments = (2,) if name == "Barrier" else ()
    patching.install()
    assert patching.installed()
    # threading.RLock is a function that asks _CRLock, and stays that function.
    assert getattr(threading, name) is (before if name == "RLock" else getattr(fastlock, name))
    assert type(getattr(threading, name)(*arguments)) is type(getattr(fastlock, name)(*arguments))
    patching.uninstall()
    assert not patching.installed()
    assert getattr(threading, name) is before
    assert type(getattr(threading, name)(*arguments)) is not type(getattr(fastlock, name)(*arguments))


def test_uninstall_restores_every_global() -> None:
    """Nothing in any module differs afterwards, logging's locks included."""
    before = everything()
    patching.install()
    assert everything() != before
    patching.uninstall()
    assert everything() == before


def test_install_is_idempotent() -> None:
    """Two installs are undone by one uninstall, and a second uninstall does nothing."""
    before = everything()
    patching.install()
    patching.install()
    patching.uninstall()
    assert everything() == before
    patching.uninstall()
    assert everything() == before


def test_nothing_asked_nothing_done() -> None:
    """Without threading there is nothing to do yet, and asyncio alone is accepted."""
    patching.install(threading=False)
    patching.install(False, True)
    assert not patching.installed()
    patching.install(asyncio=False)
    assert patching.installed()


def test_private_rlock_too() -> None:
    """_CRLock is what RLock() calls, and what other libraries copy."""
    patching.install()
    assert threading._CRLock is fastlock.RLock
    assert functools.RLock is fastlock.RLock


def test_raw_things_stay_raw() -> None:
    """Neither what makes locks in _thread nor what threading's own machinery stands on is touched."""
    raw = dict(vars(_thread))
    allocate, limbo = threading._allocate_lock, threading._active_limbo_lock
    patching.install()
    # From 3.13 on threading.Lock is a class that is pickled by this name.
    assert {name for name, value in vars(_thread).items() if value is not raw[name]} <= {"lock"}
    assert threading._allocate_lock is allocate is _thread.allocate_lock
    assert threading._active_limbo_lock is limbo and type(limbo) is _thread.RLock


def test_copies_in_modules(module: types.ModuleType) -> None:
    """Names from "from threading import …" follow, under an alias too; raw names and other values do not."""
    module.Lock = module.ThreadLock = threading.Lock
    module.Event = threading.Event
    module._allocate_lock = threading._allocate_lock
    module.LockType = _thread.LockType
    module.other = threading.Thread
    module.__dict__[7] = threading.Event  # a global's name is not always a string
    patching.install()
    assert module.Lock is module.ThreadLock is fastlock.Lock
    assert module.Event is module.__dict__[7] is fastlock.Event
    assert module._allocate_lock is _thread.allocate_lock and module.LockType is _thread.LockType
    assert module.other is threading.Thread
    patching.uninstall()
    assert module.Lock is module.ThreadLock is threading.Lock
    assert module.Event is threading.Event is not fastlock.Event


def test_uninstall_respects_later_changes(module: types.ModuleType) -> None:
    """What somebody replaced or removed after install stays as they left it."""
    module.Lock, module.Event = threading.Lock, threading.Event
    patching.install()
    module.Lock = "theirs"
    del module.Event
    patching.uninstall()
    assert module.Lock == "theirs" and not hasattr(module, "Event")


def test_imported_meanwhile_keeps_ours(module: types.ModuleType) -> None:
    """A module that imported a factory after install has ours for good, and it goes on working."""
    patching.install()
    module.Lock = threading.Lock
    patching.uninstall()
    assert module.Lock is fastlock.Lock
    with module.Lock():
        pass


def test_lazy_modules_are_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for copies does not run a module that waits to be needed."""
    (tmp_path / "lazy_probe.py").write_text("raise SystemExit('loaded')")
    spec = importlib.util.spec_from_file_location("lazy_probe", tmp_path / "lazy_probe.py")
    spec.loader = importlib.util.LazyLoader(spec.loader)
    lazy = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "lazy_probe", lazy)
    spec.loader.exec_module(lazy)
    patching.install()


def test_odd_entries_of_sys_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """None and objects that only play a module are passed over."""

    class Strange:
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(name)

    monkeypatch.setitem(sys.modules, "strange_none", None)
    monkeypatch.setitem(sys.modules, "strange_object", Strange())
    patching.install()
    assert patching.installed()


def test_failure_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """An install that is interrupted takes back its first half."""

    def interrupted() -> int:
        raise KeyboardInterrupt

    before = everything()
    monkeypatch.setattr(patching, "_count_raw_locks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        patching.install()
    assert not patching.installed()
    monkeypatch.undo()
    assert everything() == before


# ---- logging


@pytest.fixture
def handler() -> Iterator[logging.Handler]:
    """Provide a handler that exists before install."""
    made = logging.StreamHandler()
    yield made
    made.close()


def test_free_locks_of_logging_are_replaced(handler: logging.Handler) -> None:
    """The module's lock and each handler's become ours, and go back."""
    module_lock, handler_lock = logging._lock, handler.lock
    patching.install()
    assert type(logging._lock) is type(handler.lock) is type(fastlock.RLock())
    logging.getLogger("test_patching").debug("still works")
    patching.uninstall()
    assert logging._lock is module_lock and handler.lock is handler_lock


def test_held_lock_of_a_handler_stays(handler: logging.Handler) -> None:
    """Exchanging a lock under its holder would break the holder's release."""
    taken, leave = threading.Event(), threading.Event()

    def hold(lock: object = handler.lock) -> None:
        with lock:
            taken.set()
            leave.wait(30)

    other = logging.StreamHandler()
    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(30)
    try:
        patching.install()
        assert type(handler.lock) is _thread.RLock
        assert type(other.lock) is not _thread.RLock
    finally:
        leave.set()
        thread.join()


def test_own_hold_counts_as_held(handler: logging.Handler) -> None:
    """An RLock that we hold ourselves could be taken again, and is no less held."""
    with handler.lock:
        patching.install()
        assert type(handler.lock) is _thread.RLock


def test_thread_inside_logging_keeps_it_raw() -> None:
    """A thread between reading a lock and taking it cannot be seen at the lock, only on its stack."""
    inside, leave = threading.Event(), threading.Event()
    lock = logging._lock

    class Slow(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:  # and not emit, around which the lock is held
            inside.set()
            return leave.wait(30)

    logger = logging.Logger("test_patching")
    logger.addHandler(Slow())
    thread = threading.Thread(target=logger.warning, args=("x",))
    thread.start()
    assert inside.wait(30)
    try:
        patching.install()
        assert logging._lock is lock
        assert threading.Lock is fastlock.Lock
    finally:
        leave.set()
        thread.join()


# ---- what existed before


def test_raw_locks_are_counted(python) -> None:
    """Each raw lock that exists before counts once, wherever it is; ours do not count."""
    code = """
import sys, threading, _thread
import fastlock
from fastlock import patching
class Thing:
    __slots__ = ("lock",)
patching.install()
print(patching.raw_locks())
patching.uninstall()
keep = [_thread.allocate_lock() for _ in range(100)]
keep += [tuple([threading.RLock()]) for _ in range(10)]
keep += [keep[0]]
thing = Thing()
thing.lock = threading.Lock()
later = threading.Condition()
ours = [fastlock.Lock() for _ in range(50)]
patching.install()
print(patching.raw_locks())
"""
    done = python("-c", code)
    first, second = map(int, done.stdout.split())
    assert first > 0 and second - first == 112


def test_collection_is_only_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The garbage collector is left as it was found."""
    import gc

    gc.disable()
    try:
        patching.install()
        assert not gc.isenabled()
    finally:
        gc.enable()
    patching.uninstall()
    assert gc.isenabled()


# ---- refusals, disabling, fork


@pytest.mark.parametrize(
    ("module_name", "question"), [("gevent.monkey", "is_module_patched"), ("eventlet.patcher", "is_monkey_patched")]
)
def test_green_threads_are_refused(monkeypatch: pytest.MonkeyPatch, module_name: str, question: str) -> None:
    """Where gevent or eventlet say that they have patched threading, install says so and changes nothing."""
    fake = types.ModuleType(module_name)
    monkeypatch.setitem(sys.modules, module_name, fake)
    setattr(fake, question, lambda name: False)
    patching.install()
    patching.uninstall()
    setattr(fake, question, lambda name: True)
    before = everything()
    with pytest.raises(FastlockError, match=f"^{module_name.partition('.')[0]} has patched threading"):
        patching.install()
    assert everything() == before and not patching.installed()


def test_green_locks_are_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where only the objects tell."""

    def allocate_lock() -> None: ...

    allocate_lock.__module__ = "eventlet.green.thread"
    monkeypatch.setattr(threading, "Lock", allocate_lock)
    with pytest.raises(FastlockError, match="^eventlet has patched threading"):
        patching.install()


@pytest.mark.parametrize("imports", ["threading, fastlock.auto", "fastlock.auto, threading"])
def test_fork_keeps_private_locks_raw(imports: str, python) -> None:
    """threading makes its own lock anew in a child; that one must not be ours, and threads must work there."""
    code = f"import {imports}" + """
import os, _thread
import fastlock
pid = os.fork()
if pid == 0:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    ours = threading.Lock is fastlock.Lock and type(threading._active_limbo_lock) is _thread.RLock
    os._exit(0 if ours else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert python("-W", "ignore", "-c", code).returncode == 0


# ---- before threading is imported


def test_start_waits_for_threading(python) -> None:
    """A program that has not imported threading looks as it does without us; threading's import installs."""
    code = """
import sys
assert "threading" not in sys.modules
import importlib.util
importlib.util.find_spec("threading")  # a look does not end the wait
import threading
import fastlock
from fastlock import patching
assert patching.installed() and threading.Lock is fastlock.Lock
loader = type(threading.__loader__)
assert loader is type(threading.__spec__.loader) and loader.__module__ != "fastlock.patching"
assert not [finder for finder in sys.meta_path if type(finder).__module__ == "fastlock.patching"]
importlib.reload(threading)
patching.uninstall()
"""
    done = python("-c", code, env={"FASTLOCK_INSTALL": "1"})
    assert (done.returncode, done.stderr) == (0, "")


def test_uninstall_ends_the_wait(python) -> None:
    """uninstall before threading's import means that it stays as it is."""
    code = """
import fastlock
fastlock.uninstall()
import threading
print(threading.Lock is fastlock.Lock)
"""
    assert python("-c", code, env={"FASTLOCK_INSTALL": "1"}).stdout == "False\n"
