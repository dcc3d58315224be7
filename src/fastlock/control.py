"""The socket of this process: ``fastlock level`` and ``fastlock doctor`` reach it here, and levels that end by themselves do so here.

It listens from `install()` on, or as `control` in the settings says. Who listens is a native thread (`_listen`), which is no thread for Python
and asks for the GIL only when somebody has come; so it answers while every thread of the program is blocked in a lock, and does not
where the GIL itself is stuck. At a fork it is taken down before and begun again after in the parent, and the child gets a thread and a
socket of its own; a child that was made by another thread than the main one ends with its last thread, which the listener then sees. A
change of user, and descriptors that were closed in bulk, are noticed with the next call or look, and mended by a new socket.

Guard: `_mutex`, raw and re-entrant. Nobody waits under it but for the end of the thread, with a limit.
"""

from __future__ import annotations

import _socket
import _thread
import atexit
import os
import sys
import time

from fastlock import _listen, assemble, config, levels, patching, sockets, stderr

CALL_LIMIT_S = 1.0  # that one who has connected has for asking, and for taking the answer
NO_DESCRIPTOR_NAP_S = 0.1
MOST_BYTES = 4096  # of a request

_mutex = _thread.RLock()
_listening: _socket.socket | None = None
_address = ""
_owner = (0, 0)  # the process and the user whose socket it is
_begun = False
_socket_due_ns = 0  # when the thread makes the socket, unless a fork comes between
_installed = False
_forking = 0
_forking_others: set[int] = set()  # threads that fork and are not the main one
_may_be_left = False  # a child of such a one: it ends with its last thread, and the interpreter does not
_told = ""


def address() -> str | None:
    """Return where this process can be called, None for nowhere (yet); an abstract name begins with a zero."""
    return _address if _listening is not None else None


# ---- begin and end --------------------------------------------------------------------------------------


def _is_wanted() -> bool:
    wanted = config.current().control
    return sockets.credentials_are_known() and not config.disabled() and (_installed if wanted is None else wanted)


def _follow_install() -> None:
    global _installed
    _installed = True
    _follow(config.current())


def _follow(settings: config.Settings) -> None:
    """Begin or end as the settings say."""
    global _begun
    if _is_wanted() == _begun:
        return
    with _mutex:
        if _is_wanted() == _begun or sys.is_finalizing():
            return
        if _begun:
            _begun = False
            _listen.stop()
            _close()
            _end_switch()
        else:
            _begun = True
            _put_off_socket()
            _start_thread()


def _put_off_socket() -> None:
    global _socket_due_ns
    _socket_due_ns = time.monotonic_ns() + _listen.FIRST_LOOK


def _start_thread() -> None:
    if _forking:
        return  # it is started after the fork
    try:
        if _listening is None:
            look_ns = max(0, _socket_due_ns - time.monotonic_ns())
            _listen.start(-1, b"", _handle, _due_ns(), look_ns, _may_be_left)
        else:
            _listen.start(_listening.fileno(), _name(), _handle, _due_ns(), _listen.FIRST_LOOK, _may_be_left)
    except OSError as exc:
        _close()
        _end_switch()
        _tell(f"fastlock: this process cannot be reached by `fastlock level`: {exc.strerror}\n")


def _end_switch() -> None:
    """Take back what ``fastlock level`` has said where nobody could do so any more, nor end it in time."""
    if config.current().said.switch is not None:
        config.say(levels.SWITCH, None)


def _close() -> None:
    """Let go of the socket, and of its file only where that is this process's and this user's."""
    global _listening
    listening, _listening = _listening, None
    if listening is None:
        return
    try:
        ours = listening.getsockname() in (sockets.name_before(_address), os.fsencode(_address))
    except OSError:  # closed already, or no socket any more
        ours = False
    if ours:
        listening.close()
    else:
        listening.detach()  # the number is somebody else's now
    if _owner == (os.getpid(), os.geteuid()) and not _address.startswith("\0"):
        sockets.remove(_address)


def _name() -> bytes:
    return os.fsencode(_address)


def _due_ns() -> int:
    end_ns = config.end_what_is_over()
    return -1 if end_ns is None else end_ns


def _tell(word: str) -> None:
    global _told
    if word != _told:  # once, however often it is tried again
        _told = word
        stderr.write(word)


# ---- in the thread ------------------------------------------------------------------------------------------


def _handle(reason: int) -> int:
    """Do what the thread was woken for; return when it has to be woken next, in ns of CLOCK_MONOTONIC, -1 for never."""
    try:
        if reason == _listen.CHANGED:
            _renew()
        elif reason == _listen.CALLED:
            _take_call()
    except Exception:
        _tell(f"fastlock: the socket of this process failed\n{assemble.failure()}")
    return _due_ns()


def _renew() -> None:
    """Make a socket, the first one or anew: the user is another, or the descriptor was closed."""
    global _listening, _address, _owner
    with _mutex:
        _close()
        if not _begun:
            return
        try:
            listening, address = sockets.listen()
        except OSError as exc:
            _tell(f"fastlock: this process cannot be reached by `fastlock level`: {exc.strerror or exc}\n")
            return
        _address = address
        if not _forking:
            # Before anybody can know of it: a number that a program has used again by then would be taken for this socket's.
            _listen.listen_on(listening.fileno(), _name())
        try:
            sockets.sweep(os.path.dirname(address), sockets.MOST_SWEPT)
        finally:  # and while nothing else of ours is open: who closes all descriptors then would take a number from under this thread
            _listening, _owner = listening, (os.getpid(), os.geteuid())


def _take_call() -> None:
    listening = _listening
    if listening is None:
        return
    try:
        number, _ = listening._accept()  # type: ignore[attr-defined]
    except OSError as exc:
        if not isinstance(exc, (BlockingIOError, ConnectionError)):
            time.sleep(NO_DESCRIPTOR_NAP_S)  # who has come stays at the door, and would be met again at once
        return
    connection = _socket.socket(fileno=number)
    try:
        _converse(connection)
    except OSError:
        return  # who does not ask, or does not listen, gets nothing
    finally:
        connection.close()


def _converse(connection: _socket.socket) -> None:
    from fastlock import answers  # now, for few processes are ever asked, and json costs a start two milliseconds

    uid = _uid_of_peer(connection)
    if uid in (0, os.geteuid()):
        request = _line(connection)
        line = answers.answer(request) if request else b""
    else:
        line = answers.refusal(f"uid {uid} may not: this process belongs to uid {os.geteuid()}")
    connection.settimeout(CALL_LIMIT_S)
    connection.sendall(line)


def _uid_of_peer(connection: _socket.socket) -> int:
    facts = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)  # pid, uid, gid
    return int.from_bytes(facts[4:8], sys.byteorder)


def _line(connection: _socket.socket) -> bytes:
    """Return what has been asked, without the end of the line; OSError where it does not end in time."""
    end_ns = time.monotonic_ns() + int(CALL_LIMIT_S * 1e9)
    asked = b""
    while b"\n" not in asked and len(asked) <= MOST_BYTES:
        left_s = (end_ns - time.monotonic_ns()) / 1e9
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        more = connection.recv(MOST_BYTES)
        if not more:
            break
        asked += more
    return asked.partition(b"\n")[0] if len(asked) <= MOST_BYTES else asked


# ---- fork and exit ----------------------------------------------------------------------------------------------


def _before_fork() -> None:
    global _forking
    _forking += 1
    if _thread.get_native_id() != os.getpid():
        _forking_others.add(_thread.get_ident())


def _after_fork_in_parent() -> None:
    global _forking
    with _mutex:
        _forking = max(0, _forking - 1)
        _forking_others.discard(_thread.get_ident())
        if not _begun:
            return
        if _listening is None and time.monotonic_ns() >= _socket_due_ns:
            _put_off_socket()
            _renew()  # here, for a fork takes the thread down in the middle of making one: with forks in close order there would be none
        _start_thread()


def _after_fork_in_child() -> None:
    global _forking, _may_be_left
    _mutex._at_fork_reinit()  # type: ignore[attr-defined]
    _forking = 0
    _may_be_left = _may_be_left or _thread.get_ident() in _forking_others
    _forking_others.clear()
    _listen.forget()
    _close()
    if _begun:
        _put_off_socket()
        _start_thread()


def _at_exit() -> None:
    global _begun
    with _mutex:
        if _begun:
            _begun = False
            _listen.stop()
            _close()


def start() -> None:
    """Follow `install()` and the settings; once, at import."""
    patching.follow_install(_follow_install)
    config.observe(_follow)
    _listen.set_resume(_after_fork_in_parent)
    os.register_at_fork(before=_listen.stop)  # it is called after the next one, and then no line of Python's in which the GIL may be lost
    os.register_at_fork(before=_before_fork, after_in_parent=_listen.after_fork_in_parent, after_in_child=_after_fork_in_child)
    atexit.register(_at_exit)
