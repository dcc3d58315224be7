"""Values that stand in the place of others, in modules and classes, and can be taken back."""

from __future__ import annotations

import sys
from types import ModuleType

from fastlock.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any


class Change(NamedTuple):
    """One value that was replaced under a name, in a module's globals or in a class."""

    home: Any
    name: Any
    before: Any
    after: Any

    def make(self) -> None:
        """Put the new value there."""
        _put(self.home, self.name, self.after)

    def take_back(self) -> None:
        """Put the old value there, unless somebody else has changed it meanwhile."""
        values = self.home if isinstance(self.home, dict) else vars(self.home)
        if values.get(self.name) is self.after:
            _put(self.home, self.name, self.before)


def _put(home: Any, name: Any, value: Any) -> None:
    if isinstance(home, dict):
        home[name] = value
    else:
        setattr(home, name, value)


class Replacements:
    """What was replaced, in order; guarded by its owner's mutex."""

    def __init__(self) -> None:
        self._changes: list[Change] = []

    def replace(self, home: Any, name: Any, before: Any, after: Any) -> None:
        """Replace one value in a dict of globals or in a class."""
        # Recorded first: a signal handler's exception in between leaves nothing that restore() would miss.
        change = Change(home, name, before, after)
        self._changes.append(change)
        change.make()

    def replace_copies(
        self, ours_by_id: dict[int, Any], raw_modules: Collection[str] = (), raw_names: Iterable[str] = ()
    ) -> None:
        """Replace every module global that is one of these objects, but in packages and under names that keep theirs."""
        for module_name, module in sys.modules.copy().items():
            if str(module_name).partition(".")[0] in raw_modules:
                continue
            home = namespace(module)
            for name, value in home.copy().items():
                if id(value) in ours_by_id and not any(raw in str(name) for raw in raw_names):
                    self.replace(home, name, value, ours_by_id[id(value)])

    def restore(self) -> None:
        """Take back all of it, the newest first."""
        for change in reversed(self._changes):
            change.take_back()
        self._changes.clear()


def namespace(module: Any) -> dict[Any, Any]:
    """Return a module's globals without running a lazy module's __getattribute__, which would load it."""
    if not issubclass(type(module), ModuleType):
        return {}
    return object.__getattribute__(module, "__dict__")  # type: ignore[no-any-return]
