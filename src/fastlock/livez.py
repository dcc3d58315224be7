"""/livez and /metrics, answered on a thread of fastlock's own at the address that `configure(livez=…)` names.

/livez is 200 "ok", or 503 and the reason once a confirmed deadlock stands; before it first fails for a deadlock a snapshot is written to
`dump_dir`, or where there is none the reason to standard error. The thread is a raw one, and nothing that it runs takes a lock of the
application's. It needs the GIL: a process that keeps it from everybody does not answer, which fails a probe as well.

Guard: `_mutex`, raw and re-entrant, for starting and stopping; `_told` is the answering thread's alone. In the child of a fork the parent's
sockets are closed; it gets an own one where the address has {pid} in it.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import json
import os

from fastlock import _stuck, assemble, circles, config, exposition, look, responder, stderr, vitals
from fastlock.addresses import Address
from fastlock.measures import metrics

_STOP_LIMIT_S = 5.0

_mutex = _thread.RLock()
_address: Address | None = None  # that was asked for last, whether it could be had or not
_serving: Serving | None = None
_told: set[frozenset[tuple[int, int]]] = set()  # deadlocks that have been dumped or said


class Serving:
    """One listening socket and the thread that answers at it."""

    def __init__(self, address: Address) -> None:
        self._pid = os.getpid()
        self._path = address.path_now() if address.path is not None else None
        listener = responder.listen_tcp(address.host, address.port) if self._path is None else responder.listen_unix(self._path)
        self._responder = responder.Responder(listener, _answer)
        self._runs = _thread.allocate_lock()
        self._runs.acquire()
        try:
            _thread.start_new_thread(self._run, ())
        except BaseException:
            self._responder.close()
            raise

    def _run(self) -> None:
        _stuck.own_thread(True)
        try:
            self._responder.run()
        finally:
            _stuck.own_thread(False)
            self._runs.release()

    def stop(self) -> None:
        """Answer no more, and take the path away; the address is free again unless the last answer takes too long."""
        self._responder.stop()
        self.unlink()
        if self._runs.acquire(timeout=_STOP_LIMIT_S):
            self._runs.release()

    def unlink(self) -> None:
        """Take the path away, where it is this process's."""
        if self._path is not None and self._pid == os.getpid():
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def close_in_child(self) -> None:
        """Close what belongs to the parent, which goes on."""
        self._responder.close()


def follow(address: Address | None) -> None:
    """Serve at this address from here on, and no more at any other; one that cannot be had is said on standard error, once."""
    global _address, _serving
    with _mutex:
        if address == _address:
            return
        _address = address
        if _serving is not None:
            _serving.stop()
            _serving = None
        if address is not None:
            _start(address)


def _start(address: Address) -> None:
    global _serving
    try:
        _serving = Serving(address)
    except (OSError, RuntimeError) as error:  # RuntimeError: no thread to be had
        reason = getattr(error, "strerror", None) or error
        hint = "" if address.each_has_its_own else "; several processes need unix:/path-{pid}.sock"
        stderr.write(f"fastlock: no /livez of process {os.getpid()} at {address}: {reason}{hint}\n")


def _answer(request: responder.Request) -> responder.Answer:
    try:
        if request.path == "/livez":
            return _livez(request.wants_json)
        if request.path == "/metrics":
            return responder.Answer(200, exposition.text(metrics()), exposition.CONTENT_TYPE)
        return responder.Answer(404, "there are /livez and /metrics\n")
    except Exception:
        stderr.write(f"fastlock: {request.path} failed\n{assemble.failure()}")
        return responder.Answer(500, "fastlock failed; its standard error says how\n")


def _livez(wants_json: bool) -> responder.Answer:
    deadlocks = vitals.proven()
    health = vitals.of(deadlocks)
    _tell(deadlocks)
    status = 200 if health.ok else 503
    if wants_json:
        return responder.Answer(status, json.dumps(health.to_dict()) + "\n", "application/json")
    return responder.Answer(status, f"{health.reason}\n")


def _tell(deadlocks: tuple[circles.Circle, ...]) -> None:
    """Dump what has not been, and say so; what does not stand any more is forgotten."""
    _told.intersection_update(circle.waits for circle in deadlocks)
    for circle in deadlocks:
        if circle.waits not in _told:
            _told.add(circle.waits)
            stderr.write(f"fastlock: /livez fails: {circle.reason}{_dumped(circle)}\n")


def _dumped(circle: circles.Circle) -> str:
    """Write a snapshot where there is a directory for it; what is to be said of it."""
    directory = config.current().dump_dir
    if directory is None:
        return ""
    path = os.path.join(directory, f"fastlock-{os.getpid()}-{circle.fingerprint[:6]}.json")
    try:
        _write(path, json.dumps(look.snapshot().to_dict()))
    except OSError as error:
        return f"; cannot write {path}: {error.strerror}"
    return f"; dump in {path}"


def _write(path: str, text: str) -> None:
    """Write a file as a whole or not at all; what a link of its name points to is left alone."""
    scratch = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(scratch)
    fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(text.encode("utf-8", "backslashreplace"))
        os.replace(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise


def _after_fork_in_child() -> None:
    global _serving, _told
    _mutex._at_fork_reinit()  # type: ignore[attr-defined]
    _told = set()
    serving, _serving = _serving, None
    if serving is not None:
        serving.close_in_child()
    if _address is None:
        return
    if _address.each_has_its_own:
        _start(_address)
    elif serving is not None:
        stderr.write(f"fastlock: no /livez of process {os.getpid()}: {_address} is its parent's; several processes need unix:/path-{{pid}}.sock\n")


def _at_exit() -> None:
    if _serving is not None:
        _serving.unlink()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
