"""What ``install`` does to asyncio: its primitives become fastlock.aio's; the only module that changes asyncio.

As with threading, names in asyncio's own modules and globals that are the same objects are replaced; locks that exist already
stay what they are. asyncio is never imported here: where it is not yet, this happens as soon as the program imports it.

It takes both modules, and either may bring the other: who imports fastlock.aio first is in the middle of it when asyncio has come.

Guard: `_mutex`. It is taken inside the import of asyncio, so nothing is imported under it that could wait for that.
"""

from __future__ import annotations

import _thread
import gc
import os
import sys
from types import ModuleType

from fastlock import _awaits, config, futures, imports
from fastlock.replacing import Replacements, namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAMES = ("Lock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Barrier")

# Raw and re-entrant: a signal handler may install in the middle of an install.
_mutex = _thread.RLock()
os.register_at_fork(after_in_child=_mutex._at_fork_reinit)  # type: ignore[attr-defined]
_replaced = Replacements()
_wanted = False
_installed = False
_raw_locks = 0


def install() -> None:
    """Replace asyncio's primitives now where it is imported, else as soon as it is; a second call does nothing; any thread."""
    global _wanted
    if not config.disabled():
        _wanted = True
        imports.after("fastlock.aio", _patch)
        imports.after("asyncio", _bring_ours)


def uninstall() -> None:
    """Take back what is still fastlock's, and wait for asyncio no more."""
    global _wanted, _installed
    _wanted = False
    imports.forget("asyncio", _bring_ours)
    imports.forget("fastlock.aio", _patch)
    with _mutex:
        _installed = False
        _replaced.restore()


def installed() -> bool:
    """Tell whether asyncio is imported and its primitives are fastlock's now."""
    return _installed


def raw_locks() -> int:
    """Return how many of asyncio's own locks and semaphores existed when they were replaced."""
    return _raw_locks


def _bring_ours(asyncio: ModuleType) -> None:
    import fastlock.aio  # _patch follows it: at once, or where its own import has brought asyncio, after that


def _patch(aio: ModuleType) -> None:
    global _installed, _raw_locks
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return
    ours = {name: getattr(aio, name) for name in aio.__all__}
    with _mutex:
        if _installed or not _wanted:
            return
        try:
            before = _primitives(asyncio, ours)
            raw_locks = _count(before)
            _replace(asyncio, before, ours)
        except BaseException:  # Ctrl-C as well: half a patch is worse than none
            _replaced.restore()
            raise
        _installed, _raw_locks = True, raw_locks


def _primitives(asyncio: ModuleType, ours: dict[str, Any]) -> dict[str, Any]:
    """Return asyncio's own primitives that fastlock has, by name."""
    home = namespace(asyncio)
    return {name: home[name] for name in _NAMES if name in ours and name in home}


def _replace(asyncio: ModuleType, before: dict[str, Any], ours: dict[str, Any]) -> None:
    ours_by_id = {id(value): ours[name] for name, value in before.items() if value is not ours[name]}
    for home, name, after in futures.of_asyncio(asyncio):
        original = vars(home)[name]
        if isinstance(home, ModuleType):
            ours_by_id[id(original)] = after
        else:
            _replaced.replace(home, name, original, after)
    # What stands under these ids is in asyncio's own modules, so that no other object can have one of them.
    _replaced.replace_copies(ours_by_id, raw_modules=("fastlock",))


def _count(before: dict[str, Any]) -> int:
    kinds = tuple(before[name] for name in ("Lock", "Semaphore", "BoundedSemaphore") if name in before)
    return sum(type(thing) in kinds for thing in gc.get_objects())


def _publish_awaits(settings: config.Settings) -> None:
    _awaits.set_publishing(settings.publish_awaits and not config.disabled())


config.observe(_publish_awaits)
