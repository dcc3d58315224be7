"""``install``: from here on ``threading``'s factories make fastlock's locks; the only module that touches ``threading``.

What is done to asyncio is in `patching_aio`, and to what else waits in `patching_waits`.

What it reaches: the factories in ``threading`` itself, module globals that are the same objects (``from threading import
Lock``, under whatever name), and the locks of ``logging`` and its handlers where nobody holds them. What it does not
reach: locks that exist already, and factories that were copied into class attributes, default arguments, closures,
containers or registries (such as ``multiprocessing.managers.SyncManager``'s) before. ``raw_locks`` counts the former.
Best called first, before other imports and threads: that is what ``fastlock run`` and FASTLOCK_INSTALL=1 do.

Left raw on purpose: everything in ``_thread`` that makes locks; ``threading._allocate_lock``, from which conditions
make the locks that their waiters sleep on; and threading's own private locks, which reports themselves depend on.
"""

from __future__ import annotations

import _thread
import gc
import os
import sys

from fastlock import _clocks, _joins, _waits, config, imports, patching_aio, patching_waits
from fastlock.chains import no_collection
from fastlock.errors import FastlockError
from fastlock.lean import wraps
from fastlock.replacing import Change, Replacements, namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType, ModuleType
    from typing import Any

# The name in threading and the name in fastlock. threading.RLock itself stays: it is a function that looks _CRLock up at
# each call, so copies of it that anybody took are ours as well, and it still pickles by its name.
_FACTORIES = {
    "Lock": "Lock",
    "_CRLock": "RLock",
    "Condition": "Condition",
    "Semaphore": "Semaphore",
    "BoundedSemaphore": "BoundedSemaphore",
    "Event": "Event",
    "Barrier": "Barrier",
}
# Up to 3.12 threading.Lock is _thread.allocate_lock, from 3.13 on it is _thread.LockType: who asks for one of these by
# name wants the raw thing on every version.
_RAW_NAMES = ("allocate_lock", "LockType")
_RAW_MODULES = frozenset(
    {"_thread", "threading", "importlib", "_frozen_importlib", "_frozen_importlib_external", "fastlock"}
)
# Who says what green threads have patched, and how to ask.
_GREEN = {
    "gevent": ("gevent.monkey", "is_module_patched", "threading"),
    "eventlet": ("eventlet.patcher", "is_monkey_patched", "thread"),
}
_RAW_LOCK = type(_thread.allocate_lock())
_RAW_RLOCK = _thread.RLock


# Raw and re-entrant: a signal handler may install in the middle of an install.
_mutex = _thread.RLock()
os.register_at_fork(after_in_child=_mutex._at_fork_reinit)  # type: ignore[attr-defined]
_factories = Replacements()
_locks: list[Change] = []
_wrapped: list[Change] = []  # Thread.join, while it is
_followers: list[Callable[[], None]] = []
_installed = False
_hooked = False
_raw_locks = 0
_follows = False


def install(threading: bool = True, asyncio: bool = True) -> None:
    """Make ``threading``'s and ``asyncio``'s locks fastlock's, from here on and for the whole process; again does nothing.

    Each may be left out. ``asyncio`` is not imported: where it is not yet, its locks are replaced as soon as it is.
    FastlockError where gevent or eventlet has patched ``threading``; nothing happens under FASTLOCK_DISABLE=1. Any
    thread; about a millisecond for each 10,000 objects that exist.
    """
    if config.disabled():
        return
    if threading:
        _install_threading()
    if asyncio:
        patching_aio.install()
    if threading or asyncio:
        patching_waits.install()
    for follower in _followers:
        follower()


def follow_install(follower: Callable[[], None]) -> None:
    """Have a part that stands above this one told of each `install`, after it; for ever."""
    _followers.append(follower)


def _install_threading() -> None:
    global _installed, _raw_locks
    with _mutex, no_collection():
        if _installed:
            return
        _refuse_green_threads()
        try:
            _replace_factories()
            _wrap_join()
            _replace_locks_of_logging()
            _raw_locks = _count_raw_locks()
        except BaseException:  # Ctrl-C as well: half a patch is worse than none
            _restore()
            raise
        _installed = True
        _keep_private_lock_raw()


def uninstall() -> None:
    """Take back what ``install`` replaced, where the value is still fastlock's; locks that exist go on working.

    A lock of ``logging`` that is held stays fastlock's, and so do names that modules imported meanwhile. Any thread.
    """
    global _installed
    imports.forget("threading", _install_imported)
    patching_aio.uninstall()
    patching_waits.uninstall()
    with _mutex, no_collection():
        if _installed:
            _installed = False
            _restore()


def installed() -> bool:
    """Tell whether ``threading``'s locks are fastlock's now."""
    return _installed


def reached() -> dict[str, bool]:
    """Return which modules' locks are fastlock's now, by module."""
    return {"threading": _installed, "asyncio": patching_aio.installed()}


def raw_locks() -> int:
    """Return how many locks existed at ``install``, the interpreter's own included; fastlock cannot see them."""
    return _raw_locks + patching_aio.raw_locks()


def follow_threads() -> None:
    """Let the lock-order graph know who starts and joins whom, from here on; once in a process, at level order.

    Who starts a thread must be asked before it runs; that goes on below level order, or threads that never met would seem
    to, and costs about a microsecond. Subclasses that override start and join count as long as they call them.
    """
    global _follows
    if "threading" not in sys.modules and not config.disabled():
        imports.after("threading", _follow_imported)
        return
    with _mutex:
        if _follows or config.disabled():
            return
        _follows = True
        cls = _threading().Thread
        cls.start = _followed_start(cls.start)
        _wrap_join()


def _follow_imported(threading: ModuleType) -> None:
    follow_threads()


def _followed_start(start: Any) -> Any:
    @wraps(start)
    def followed(self: Any) -> None:
        _clocks.started(self)
        start(self)

    return followed


def _wrap_join() -> None:
    """Wrap Thread.join in place, once: for the table of waits while fastlock is installed, for the order graph once that follows threads."""
    cls = _threading().Thread
    if not any(vars(change.home).get(change.name) is change.after for change in _wrapped):
        _waits.set_join_calls(list(_codes(cls.join)) + list(_codes(getattr(cls, "_wait_for_tstate_lock", None))))
        change = Change(cls, "join", cls.join, _followed_join(cls.join, cls.is_alive))
        _wrapped[:] = [change]
        change.make()


def _codes(function: Any) -> Iterator[CodeType]:
    while hasattr(function, "__code__"):
        yield function.__code__
        function = getattr(function, "__wrapped__", None)


def _followed_join(join: Any, is_alive: Any) -> Any:
    @wraps(join)
    def followed(self: Any, timeout: float | None = None) -> None:
        if _installed:
            _joins.join(join, is_alive, self, timeout)
        else:
            join(self, timeout)
        if _follows and not self.is_alive():
            _clocks.joined(self)

    return followed


def install_when_imported() -> None:
    """Install now what is imported already, and the rest as soon as somebody imports it: fastlock itself does not.

    For the start of a process, which must not look different to a program that imports threading in its own time.
    """
    if config.disabled():
        return
    patching_aio.install()
    patching_waits.install()
    imports.after("threading", _install_imported)


def _install_imported(threading: ModuleType) -> None:
    install(asyncio=False)


def _threading() -> ModuleType:
    import threading

    return threading


def green_packages() -> tuple[str, ...]:
    """Return the packages where `install` refuses once they have patched threading."""
    return tuple(_GREEN)


def _refuse_green_threads() -> None:
    origins = {
        str(getattr(vars(_threading()).get(name), "__module__", "")).partition(".")[0]
        for name in ("Lock", "RLock", "_allocate_lock", "_start_new_thread", "_start_joinable_thread")
    }
    for package, (module, question, name) in _GREEN.items():
        # Asked only where somebody else has imported it; half imported, it has no answer yet and has patched nothing.
        ask = getattr(sys.modules.get(module), question, None)
        if package in origins or (ask is not None and ask(name)):
            raise FastlockError(
                f"{package} has patched threading: its locks switch greenlets, and fastlock's would block the thread "
                f"that runs all of them; install fastlock in processes without {package}"
            )


# ---- factories ----------------------------------------------------------------------------------


def _replace_factories() -> None:
    import fastlock

    home = vars(_threading())
    ours_by_id: dict[int, Any] = {}
    for name, ours_name in _FACTORIES.items():
        before, after = home.get(name), getattr(fastlock, ours_name)
        if before is not None and before is not after:
            ours_by_id[id(before)] = after
            _factories.replace(home, name, before, after)
    _factories.replace_copies(ours_by_id, _RAW_MODULES, _RAW_NAMES)
    if sys.version_info >= (3, 13):
        # From 3.13 on threading.Lock is a class, which pickles by the name _thread.lock (multiprocessing does so).
        _factories.replace(vars(_thread), "lock", vars(_thread)["lock"], fastlock.Lock)


def _restore() -> None:
    _factories.restore()
    if not _follows:
        for change in _wrapped:
            change.take_back()
    if not _someone_is_logging():
        for home, name, before, after in reversed(_locks):
            if home.get(name) is after:
                _exchange_if_free(Change(home, name, after, before))
    _locks.clear()


# ---- locks that logging made at its import, and one for each handler ----------------------------


def _replace_locks_of_logging() -> None:
    logging = sys.modules.get("logging")
    if logging is None or _someone_is_logging():
        return
    # An import that is still going on in another thread may not have got so far.
    handlers = [reference() for reference in list(getattr(logging, "_handlerList", ()))]
    places = [(vars(logging), "_lock"), *((vars(handler), "lock") for handler in handlers if handler is not None)]
    for home, name in places:
        lock = home.get(name)
        if type(lock) is _RAW_RLOCK:
            change = Change(home, name, lock, _threading().RLock())
            if _exchange_if_free(change):
                _locks.append(change)


def _exchange_if_free(change: Change) -> bool:
    """Exchange a lock unless somebody holds it; meanwhile we do, so that nobody is between its acquire and release."""
    lock = change.before
    if lock._is_owned() or not lock.acquire(blocking=False):
        return False
    try:
        change.make()
    finally:
        lock.release()
    return True


def _someone_is_logging() -> bool:
    """Tell whether another thread is inside ``logging``: it may be about to take a lock and would release the other.

    sys._current_frames can deadlock through 3.11 where its allocations start a garbage collection, hence no_collection.
    """
    logging = sys.modules.get("logging")
    if logging is None:
        return False
    me = _thread.get_ident()
    return any(
        frame.f_globals is vars(logging)
        for ident, innermost in sys._current_frames().items()
        if ident != me
        for frame in _outwards(innermost)
    )


def _outwards(innermost: FrameType | None) -> Iterator[FrameType]:
    while innermost is not None:
        yield innermost
        innermost = innermost.f_back


# ---- what existed before ------------------------------------------------------------------------


def _count_raw_locks() -> int:
    ours = {id(change.before) for change in _locks}  # nobody uses these any more
    for name, module in sys.modules.copy().items():
        if str(name).partition(".")[0] == "fastlock":
            ours.update(map(id, namespace(module).values()))
    # Locks are known to the garbage collector on every version, so there is no need to search containers for them.
    return sum(
        (type(thing) is _RAW_LOCK or type(thing) is _RAW_RLOCK) and id(thing) not in ours for thing in gc.get_objects()
    )


# ---- fork ---------------------------------------------------------------------------------------


def _keep_private_lock_raw() -> None:
    """Undo what threading does in the child of a fork: it makes its private lock anew, and would get ours.

    Hooks run in the order of registration, so this one must come after threading's, and nobody holds the lock.
    """
    global _hooked
    if not _hooked:
        _hooked = True
        os.register_at_fork(after_in_child=_exchange_private_lock)


def _exchange_private_lock() -> None:
    home = vars(_threading())
    if _installed and "_active_limbo_lock" in home:
        home["_active_limbo_lock"] = _RAW_RLOCK()


def _follow_at_order(settings: config.Settings) -> None:
    if settings.level == "order":
        follow_threads()


config.observe(_follow_at_order)
