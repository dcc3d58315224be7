"""Has /livez answered as the settings say; nothing of it is imported before somebody asks for it."""

from __future__ import annotations

from fastlock import config


def start() -> None:
    """Follow the settings; once, at import."""
    config.observe(_follow)


_asked = False


def _follow(settings: config.Settings) -> None:
    global _asked
    # Not in fastlock's own tool, which inherits the variable of the processes that it looks at; nor where all is inert.
    if settings.livez is None and not _asked or config.is_command() or config.disabled():
        return
    _asked = True
    from fastlock import livez

    livez.follow(settings.livez)
