"""What fastlock.pth runs at the start of an interpreter that has FASTLOCK_INSTALL in its environment.

It lies outside the package because it must have an answer where the package itself cannot be imported: an
exception that reaches site.py would be printed as a traceback, and the program would start all the same.
"""

from __future__ import annotations

import gc
import os
import sys


_started = False


def start() -> None:
    """Install fastlock as the environment says; a bad value ends the process with status 2, other trouble is one line."""
    global _started
    # In a virtual environment site.py reads every .pth twice. The core lives in one interpreter of a process; the
    # others run uninstrumented.
    if _started or not _in_main_interpreter():
        return
    _started = True
    collects = gc.isenabled()
    gc.disable()  # nothing of what is imported is garbage; to look is 3 % of a start on 3.11
    try:
        _install()
    finally:
        if collects:
            gc.enable()


def _install() -> None:
    try:
        _import_package()
        from fastlock import config

        if config.switch("install"):
            import fastlock.auto
    except SystemExit:  # the command line tool itself was started, and has said why
        os._exit(2)
    except Exception as exc:
        message = " ".join(str(exc).split())
        if _is_config_error(exc):
            _tell(f"fastlock: {message}\n")
            os._exit(2)
        _tell(f"fastlock: not installed in this process: {type(exc).__name__}: {message}\n")


def _import_package() -> None:
    """Import fastlock by the recipe of importlib's documentation; where it is not found so, the import statement that follows does it.

    While that statement runs, each of the 480 imports inside it asks whether it is over, for there may be other threads: on 3.15 that is a sixth
    of a start. Here there are none yet.
    """
    from _frozen_importlib import module_from_spec  # importlib.util has it from there, and loads more
    from _frozen_importlib_external import PathFinder

    spec = None if "fastlock" in sys.modules else PathFinder.find_spec("fastlock")
    if spec is None or spec.loader is None:
        return
    package = sys.modules["fastlock"] = module_from_spec(spec)
    try:
        spec.loader.exec_module(package)
    except BaseException:
        del sys.modules["fastlock"]
        raise


def _in_main_interpreter() -> bool:
    import _thread

    if hasattr(_thread, "_is_main_interpreter"):
        return bool(_thread._is_main_interpreter())
    try:
        import _xxsubinterpreters as interpreters  # type: ignore[import-not-found]  # 3.10 and 3.11
    except ImportError:
        return True
    return bool(interpreters.get_current() == interpreters.get_main())


def _is_config_error(exc: Exception) -> bool:
    # Looked up, not imported: the package may have failed half-way, and importing would run it again.
    errors = sys.modules.get("fastlock.errors")
    return errors is not None and isinstance(exc, errors.ConfigError)


def _tell(line: str) -> None:
    try:
        os.write(2, line.encode(errors="backslashreplace"))
    except OSError:  # closed: there is nobody to tell
        return
