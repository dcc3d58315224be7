"""A feature flag decides the level: `follow` asks OpenFeature for it, and again whenever its provider says that something has changed.

    from fastlock.openfeature import follow
    following = follow("fastlock-level")        # off, detect or order; following.close() ends it

Needs the extra: pip install 'fastlock[openfeature]'. What the flag says comes before what code and environment do, and after ``fastlock
level``. While the provider is not ready, stale or failing, the last good value stays in force; a flag that is gone takes its word back.
"""

from __future__ import annotations

import _thread
from typing import Any

from fastlock import config, levels, watchdog
from fastlock.errors import FastlockError

try:
    from openfeature import api
    from openfeature.client import OpenFeatureClient
    from openfeature.event import ProviderEvent
    from openfeature.exception import ErrorCode
except ImportError as exc:
    raise ImportError(f"fastlock.openfeature needs the SDK, pip install 'fastlock[openfeature]': {exc}") from exc

_MOST_WORDS = 100  # of complaint that are remembered, so as not to be repeated
_NO_FLAG = ""  # no level, so that a provider which has no such flag is told apart from one that has

_mutex = _thread.allocate_lock()  # held for an exchange of `_followed` only
_followed: Following | None = None


class Following:
    """What `follow` returns: `refresh()` asks again, `close()` ends it; both from any thread."""

    def __init__(self, flag: str, client: OpenFeatureClient, default: str | None) -> None:
        self._flag = flag
        self._client = client
        self._default = default
        self._asking = _thread.allocate_lock()  # held by who asks; taken without waiting, for a provider may take its time
        self._again = False
        self._closed = False
        self._told: set[str] = set()

    def refresh(self) -> None:
        """Ask for the flag now, as each event of the provider does; where another thread is asking, that one asks once more."""
        self._again = True
        while self._again and self._asking.acquire(blocking=False):
            try:
                self._again = False
                self._ask()
            finally:
                self._asking.release()

    def close(self) -> None:
        """Follow the flag no more and take its word back; a second time does nothing."""
        global _followed
        with _mutex:
            if self._closed:
                return
            self._closed, _followed = True, None
        for event in ProviderEvent:
            self._client.remove_handler(event, self._on_event)
        with self._asking:  # who asks now says nothing afterwards
            config.say(levels.FLAG, None)

    def _begin(self) -> None:
        with self._asking:  # a provider that is ready says so at once, on a thread of the SDK's: that one must not ask in our place
            for event in ProviderEvent:
                self._client.add_handler(event, self._on_event)
            self._ask()
        if self._again:
            self.refresh()

    def _on_event(self, details: Any) -> None:
        self.refresh()

    def _ask(self) -> None:
        details = self._client.get_string_details(self._flag, _NO_FLAG)
        if self._closed:
            return
        if details.error_code not in (None, ErrorCode.FLAG_NOT_FOUND):
            if details.error_code != ErrorCode.PROVIDER_NOT_READY:
                self._complain(f"cannot be had ({details.error_code}: {details.error_message})")
        elif details.error_code is not None or details.value == _NO_FLAG:
            config.say(levels.FLAG, self._default)
        elif details.value in config.LEVELS:
            config.say(levels.FLAG, details.value)
        else:
            self._complain(f"is {details.value!r:.40}, which is no level: must be {', '.join(config.LEVELS)}")

    def _complain(self, trouble: str) -> None:
        if trouble not in self._told and len(self._told) < _MOST_WORDS:
            self._told.add(trouble)
            word = f"the flag {self._flag!r} {trouble}; the level stays {config.level()}"
            watchdog.warn(" ".join(word.split()))


def follow(flag: str, client: OpenFeatureClient | None = None, default: str | None = None) -> Following:
    """Let a feature flag decide the level from now on, with `default` where there is no such flag; one at a time.

    ``client``: whose provider is asked; without it that of `openfeature.api`. ConfigError for a default that is no level; FastlockError
    where another flag is followed already. The handlers run on the SDK's threads, so the child of a fork keeps the flag's last word and
    has to call `follow` anew to hear others. Any thread; costs what the provider's answer does.
    """
    global _followed
    if not isinstance(flag, str) or not flag:
        raise TypeError(f"follow needs the key of a flag, not {flag!r}")
    if default is not None:
        config.check_level(default)
    following = Following(flag, api.get_client() if client is None else client, default)
    with _mutex:
        if _followed is not None:
            raise FastlockError(f"the flag {_followed._flag!r} decides the level already: close() that first")
        _followed = following
    config.say(levels.FLAG, default)
    following._begin()
    return following
