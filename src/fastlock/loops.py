"""Which threads run an event loop: follows asyncio from the moment that somebody imports it; fastlock itself does not."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from fastlock import config
from fastlock._loops import follow_loops

__all__ = ["follow_loops", "start"]


def start() -> None:
    """Follow asyncio's loops, now or as soon as asyncio is imported; inert under FASTLOCK_DISABLE=1."""
    if config.disabled():
        return
    asyncio = sys.modules.get("asyncio")
    # Half imported it has no events yet; who imports it then imports fastlock in the middle of that, and nobody does.
    if asyncio is not None:
        follow_loops(asyncio)
    elif not any(type(finder) is _Finder for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds ``asyncio`` as the others on sys.meta_path do, and has it followed after its body has run."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "asyncio":
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Loader(spec.loader)
                return spec  # type: ignore[no-any-return]
        return None


class _Loader:
    """The real loader, and what follows it."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def exec_module(self, module: ModuleType) -> None:
        for finder in [finder for finder in sys.meta_path if type(finder) is _Finder]:
            sys.meta_path.remove(finder)
        if module.__spec__ is not None:
            module.__spec__.loader = self._original
        module.__loader__ = self._original
        self._original.exec_module(module)
        follow_loops(module)
