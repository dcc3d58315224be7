"""``import fastlock.auto`` configures fastlock from the environment and installs it for the whole process."""

from __future__ import annotations

import os

from fastlock import config, patching


def _tell() -> None:
    if config.disabled():
        what = "disabled by FASTLOCK_DISABLE"
    else:
        what = f"level {config.level()}, {patching.raw_locks()} raw locks existed before and cannot be seen"
    try:
        os.write(2, f"fastlock: pid {os.getpid()}: {what}\n".encode())
    except OSError:
        return  # a closed standard error has nobody to tell


config.start()
if config.switch("verbose"):
    patching.install()  # now, for the count
    _tell()
else:
    patching.install_when_imported()
