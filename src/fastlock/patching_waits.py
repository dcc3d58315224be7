"""What ``install`` does to concurrent.futures, queue and subprocess: who waits there says so; the only module that changes them.

None of these modules is imported here: where one is not yet, this happens as soon as the program imports it.

Guard: `_mutex`. It is taken inside the import of a module, so nothing is imported under it that could wait for that.
"""

from __future__ import annotations

import _thread
import os
from types import ModuleType

from fastlock import config, futures, imports
from fastlock.replacing import Replacements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    _Followed = Callable[[ModuleType], Iterator[futures.Replacement]]

# By the name of the module: what is to stand there.
_FOLLOWED: dict[str, _Followed] = {
    "queue": futures.of_queues,
    "concurrent.futures._base": futures.of_futures,
    "concurrent.futures.thread": futures.of_pools,
    "subprocess": futures.of_processes,
}

# Raw and re-entrant: a signal handler may install in the middle of an install.
_mutex = _thread.RLock()
os.register_at_fork(after_in_child=_mutex._at_fork_reinit)  # type: ignore[attr-defined]
_replaced = Replacements()
_done: set[str] = set()
_wanted = False


def install() -> None:
    """Follow waits for futures from here on, in modules that are imported and as soon as others are; a second call does nothing; any thread."""
    global _wanted
    if not config.disabled():
        _wanted = True
        for name in _FOLLOWED:
            imports.after(name, _patch)


def uninstall() -> None:
    """Take back what is still fastlock's, and wait for no module any more."""
    global _wanted
    _wanted = False
    for name in _FOLLOWED:
        imports.forget(name, _patch)
    with _mutex:
        _done.clear()
        _replaced.restore()


def _patch(module: ModuleType) -> None:
    name = module.__name__
    with _mutex:
        if name in _done or not _wanted:
            return
        ours_by_id: dict[int, Any] = {}
        for home, key, after in list(_FOLLOWED[name](module)):
            before = vars(home)[key]
            if isinstance(home, ModuleType):
                _replaced.replace(vars(home), key, before, after)
                ours_by_id[id(before)] = after
            else:
                _replaced.replace(home, key, before, after)
        _replaced.replace_copies(ours_by_id, raw_modules=("fastlock",))
        _done.add(name)
