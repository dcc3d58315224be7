"""Findings as records of the ``fastlock`` logger, for programs that use logging."""

from __future__ import annotations

import sys

from fastlock.findings import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    import logging as logging_module

LOGGER = "fastlock"


def emit(finding: Finding, *, may_import: bool = False) -> bool:
    """Log the finding and return whether it was; a program that has no logging loaded gets it only with ``may_import``.

    Proven findings are errors, the others warnings. The record has ``fastlock_code``, ``fastlock_tier``,
    ``fastlock_fingerprint``, ``fastlock_count``, ``fastlock_locks`` (their classes), ``fastlock_agents`` (their names) and
    ``fastlock_finding`` (the dict). It runs the program's handlers, which may block or raise: call it where that hurts nobody.
    """
    logging = _logging(may_import)
    if logging is None:
        return False
    logger = _logger(logging)
    level = logging.ERROR if finding.tier == "proven" else logging.WARNING
    if logger.isEnabledFor(level):
        logger.log(level, "%s", finding.summary(), extra=_fields(finding))
    return True


def warn(word: str) -> None:
    """Log something that is no finding as a warning, where the program has logging loaded; runs its handlers."""
    logging = _logging(False)
    if logging is not None:
        _logger(logging).warning("%s", word)


def _logger(logging: ModuleType) -> logging_module.Logger:
    logger: logging_module.Logger = logging.getLogger(LOGGER)
    if not logger.handlers:
        # Without a handler of its own, logging would print to stderr what is there already.
        logger.addHandler(logging.NullHandler())
    return logger


def _logging(may_import: bool) -> ModuleType | None:
    module = sys.modules.get("logging")
    if module is None and may_import:
        import logging as module  # late: to load it is the program's choice, not ours
    # A thread may be stuck in the middle of importing it: what is half there counts as absent.
    return module if module is not None and hasattr(module, "NullHandler") and hasattr(module, "getLogger") else None


def _fields(finding: Finding) -> dict[str, object]:
    return {
        "fastlock_code": finding.code,
        "fastlock_tier": finding.tier,
        "fastlock_fingerprint": finding.fingerprint,
        "fastlock_count": finding.count,
        "fastlock_locks": sorted({lock.lock_class for lock in finding.locks}),
        "fastlock_agents": [agent.name for agent in finding.agents],
        "fastlock_finding": finding.to_dict(),
    }
