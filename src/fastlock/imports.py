"""What happens as soon as the program imports a module that fastlock itself does not import.

A finder at the head of sys.meta_path asks the others for the module, and wraps its loader; after the module's body has run,
and before anybody else can see the module as imported, who waits for it is called. The finder goes when nobody waits any more.

Guard: `_mutex` for what is waited for; nothing is imported or called under it. A body that raises changes nothing: the next
import is another attempt. Who is called may be called in any thread, with the import lock of that module held.
"""

from __future__ import annotations

import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Follower = Callable[[ModuleType], None]

# Raw and re-entrant: a signal handler or finaliser may install in the middle of it.
_mutex = _thread.RLock()
os.register_at_fork(after_in_child=_mutex._at_fork_reinit)  # type: ignore[attr-defined]
_waiting: dict[str, list[Follower]] = {}
_loading: dict[str, int] = {}  # whose bodies run, through a loader of ours, and in which thread
_finding: set[tuple[int, str]] = set()  # which threads ask the other finders for what


def after(name: str, follower: Follower) -> None:
    """Call `follower(module)` now where the module is imported already, else as soon as it is; any thread.

    Where another thread is in the middle of importing it, this waits for the end of that.
    """
    with _mutex:
        followers = _waiting.setdefault(name, [])
        if follower not in followers:
            followers.append(follower)
        if not any(type(finder) is _Finder for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder())
        module = sys.modules.get(name)
        if module is None or name in _loading:
            return
    if _is_half_imported(module):
        # Its finder was asked before ours was there. A circular import of this very thread comes back at once.
        try:
            __import__(name)
        except ImportError:
            pass  # as the import has told whoever began it
    module = sys.modules.get(name)
    if module is not None and name not in _loading:
        _call_followers(name, module)


def forget(name: str, follower: Follower) -> None:
    """Do not wait any more; what has not been waited for is passed over."""
    with _mutex:
        followers = _waiting.get(name, [])
        if follower in followers:
            followers.remove(follower)
        if not followers:
            _waiting.pop(name, None)
        _leave_if_idle()


def _is_half_imported(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _call_followers(name: str, module: ModuleType) -> None:
    with _mutex:
        followers = _waiting.pop(name, [])
        _leave_if_idle()
    for follower in followers:
        follower(module)


def _leave_if_idle() -> None:
    if not _waiting:
        for finder in [finder for finder in sys.meta_path if type(finder) is _Finder]:
            sys.meta_path.remove(finder)


class _Finder:
    """Finds what is waited for as the others on sys.meta_path do."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        # A finder that asks all others too, as ours does, would go round in a circle with it.
        question = (_thread.get_ident(), name)
        if name not in _waiting or question in _finding:
            return None
        _finding.add(question)
        try:
            spec = self._found_by_others(name, path, target)
        finally:
            _finding.discard(question)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec

    def _found_by_others(self, name: str, path: Any, target: Any) -> ModuleSpec | None:
        for finder in list(sys.meta_path):
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                return spec  # type: ignore[no-any-return]
        return None


class _Loader:
    """The real loader, and what follows it."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        # Another hook may have wrapped this loader in turn; its own stays.
        spec: Any = module.__spec__
        if spec is not None and spec.loader is self:
            spec.loader = self._original
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = self._original
        _loading[name] = _thread.get_ident()
        try:
            self._original.exec_module(module)
        finally:
            _loading.pop(name, None)
        _call_followers(name, module)


def _after_fork_in_child() -> None:
    # Of what other threads were in the middle of, nothing goes on here; their modules are in the state that they were in.
    me = _thread.get_ident()
    _finding.intersection_update({question for question in _finding if question[0] == me})
    for name in [name for name, ident in _loading.items() if ident != me]:
        del _loading[name]


os.register_at_fork(after_in_child=_after_fork_in_child)
