"""The callbacks of on_finding(): who they are and what each asked for. They are called by watchdog, never under a mutex."""

from __future__ import annotations

from fastlock.findings import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Hook = Callable[[Finding], Any]

_hooks: list[HookHandle] = []  # changed by single atomic calls, as any thread may, and a finaliser in between


class HookHandle:
    """What on_finding returns: remove() ends the calls."""

    def __init__(self, callback: Hook, codes: frozenset[str] | None) -> None:
        self._callback = callback
        self._codes = codes

    def remove(self) -> None:
        """Call the hook no more; a second time does nothing; any thread."""
        try:
            _hooks.remove(self)
        except ValueError:
            return

    def wants(self, finding: Finding) -> bool:
        """Tell whether the hook asked for this code."""
        return self._codes is None or finding.code in self._codes

    def __call__(self, finding: Finding) -> None:
        """Call the hook."""
        self._callback(finding)


def on_finding(callback: Hook, codes: Iterable[str] | None = None) -> HookHandle:
    """Have `callback(finding)` called for each new finding, on a thread of fastlock's; at most 5 s, then it is cut off.

    `codes` limits it to some codes, such as ("FL001", "FL002"). TypeError for what cannot be called. Any thread.
    """
    if not callable(callback):
        raise TypeError(f"on_finding needs a callable, not {type(callback).__name__}")
    if isinstance(codes, str):
        codes = (codes,)
    handle = HookHandle(callback, None if codes is None else frozenset(codes))
    _hooks.append(handle)
    return handle


def wanting(finding: Finding) -> list[HookHandle]:
    """Return the hooks that asked for a finding, in the order in which they came."""
    return [hook for hook in list(_hooks) if hook.wants(finding)]
