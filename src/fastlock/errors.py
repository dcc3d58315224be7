"""The exceptions of fastlock, each also the standard error that a caller of ``threading`` would catch."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from fastlock.findings import Finding, Site

    _E = TypeVar("_E", bound="_FindingError")


class FastlockError(Exception):
    """Base of every error that only fastlock raises."""


class _FindingError(FastlockError):
    """An error that carries the finding which caused it."""

    # The finding is an attribute and not an argument, so that ``args`` stays one readable
    # message and the default pickling (args, then __dict__) brings both across a process pool.
    finding: Finding | None

    def __init__(self, message: str = "", finding: Finding | None = None) -> None:
        super().__init__(message)
        self.finding = finding

    @classmethod
    def from_finding(cls: type[_E], finding: Finding) -> _E:
        """Return the error for a finding, its one-line summary being the message."""
        return cls(finding.summary(), finding)


class DeadlockError(_FindingError, RuntimeError):
    """Raised instead of a wait that would never end; every lock is left as it was; ``finding`` tells why."""


class LockOrderError(_FindingError, RuntimeError):
    """Raised before an acquisition that would break the lock order; ``finding`` tells which order."""


class LockTimeout(FastlockError, TimeoutError):
    """A lock's own limit of ``timeout_s`` seconds has passed; ``lock`` and ``owner`` are names, ``held_at`` a Site."""

    lock: str | None
    owner: str | None
    held_at: Site | None
    timeout_s: float | None

    def __init__(
        self,
        message: str = "",
        *,
        lock: str | None = None,
        owner: str | None = None,
        held_at: Site | None = None,
        timeout_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.lock = lock
        self.owner = owner
        self.held_at = held_at
        self.timeout_s = timeout_s


class ConfigError(FastlockError, ValueError):
    """A keyword, environment variable or argument of fastlock has a value that is not allowed."""
