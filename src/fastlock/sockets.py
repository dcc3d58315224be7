"""Where the socket of a process is: one file for each process, in a directory that nobody but its user can enter.

The directory is `fastlock` in XDG_RUNTIME_DIR where that is the user's own, else `fastlock-UID` in the directory for temporary files. It
is made with mode 0700, and used only while it is a directory of this user's with that mode, no symbolic link, in a place where nobody else
could exchange it. Where no directory can be had, as on a read-only disk, the socket gets an abstract name (Linux): anybody may
connect to that, so whom it answers is decided by the credentials of the peer alone, which are asked in either case.

A file is named by process id and process namespace, for containers may share a directory. It appears by rename, listening already; so a file
on which nobody listens is stale, and whoever looks removes it.
"""

from __future__ import annotations

import _socket
import os
import stat
import sys

from fastlock import config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BACKLOG = 64
SUFFIX = ".sock"
MOST_SWEPT = 64  # files that a process which starts looks at; others are left to who looks for processes
_PRIVATE = 0o700
_LONGEST = 107  # bytes of a path that a socket's address has room for


def credentials_are_known() -> bool:
    """Tell whether the system says who has connected, without which nobody may."""
    return sys.platform == "linux"


def listen() -> tuple[_socket.socket, str]:
    """Return a listening socket of this process, not inherited by programs that it starts, and its address; OSError for none."""
    trouble = OSError("no directory for a socket")
    for path in _own_directories():
        try:
            _make_private(path)
            return _listen_in(path)
        except OSError as exc:
            trouble = exc
    try:
        return _listen_at(abstract_address(os.getpid(), os.geteuid()))
    except OSError:
        raise trouble from None


def place() -> str | None:
    """Return the directory where the socket of a process of this user and environment is, None where none can be had."""
    for path in _own_directories():
        try:
            _make_private(path)
        except OSError:
            continue
        if os.access(path, os.W_OK):
            return path
    return None


def _own_directories() -> list[str]:
    uid = os.geteuid()
    return [_directory_in(base, uid) for base in config.directories_for_sockets()]


def _directory_in(base: str, uid: int) -> str:
    """Return a user's directory in a base; in a runtime directory, which is one user's own, without the number."""
    try:
        facts = os.stat(base)
        private = facts.st_uid == uid and not facts.st_mode & 0o077
    except OSError:
        private = False
    return os.path.join(base, "fastlock" if private else f"fastlock-{uid}")


def _make_private(path: str) -> None:
    try:
        os.mkdir(path, _PRIVATE)
    except FileExistsError:
        reason = why_not_private(path, os.geteuid())
        if reason:
            raise PermissionError(reason) from None


def why_not_private(path: str, uid: int) -> str:
    """Say why a directory must not be trusted with a user's socket; nothing where it may be."""
    facts, above = os.lstat(path), os.stat(os.path.dirname(path))
    if stat.S_ISLNK(facts.st_mode) or not stat.S_ISDIR(facts.st_mode):
        return f"{path} is no directory"
    if facts.st_uid != uid:
        return f"{path} belongs to uid {facts.st_uid}"
    if stat.S_IMODE(facts.st_mode) & 0o077:
        return f"{path} can be entered by others"
    if above.st_uid not in (0, uid) or (above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX):
        return f"{os.path.dirname(path)} lets others exchange {path}"
    return ""


def _listen_in(directory: str) -> tuple[_socket.socket, str]:
    path = os.path.join(directory, file_name(os.getpid()))
    made = name_before(path)  # of this process too, so what lies there is left over
    if len(os.fsencode(made)) > _LONGEST:
        raise OSError(f"{path} is too long for a socket")
    remove(made)
    listening, _ = _listen_at(made)
    try:
        os.chmod(made, 0o600)
        os.rename(made, path)
    except OSError:
        listening.close()
        remove(made)
        raise
    return listening, path


def name_before(path: str) -> str:
    """Return the name under which a socket is made that then gets another; it goes on calling itself so."""
    return f"{path}.new"


def _listen_at(address: str) -> tuple[_socket.socket, str]:
    listening = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)  # like any descriptor of Python's, not inherited
    try:
        listening.bind(address)
        listening.listen(BACKLOG)
        listening.setblocking(False)  # who has connected may be gone when it is accepted
    except OSError:
        listening.close()
        raise
    return listening, address


def namespace_of(pid: int | str) -> str:
    """Return the number of the process namespace that a process is in, 0 where it is not known."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid").partition("[")[2].rstrip("]") or "0"
    except OSError:
        return "0"


def file_name(pid: int, namespace: str | None = None) -> str:
    """Return the name of a process's socket in the directory."""
    return f"{pid}-{namespace_of('self') if namespace is None else namespace}{SUFFIX}"


def abstract_address(pid: int, uid: int, namespace: str | None = None) -> str:
    """Return the name of a process's socket where there is no directory."""
    return f"\0fastlock-{uid}-{file_name(pid, namespace)}"


def addresses_of(pid: int, uid: int) -> Iterator[str]:
    """Name the places where the socket of a process of this machine may be, as far as they can be known from outside."""
    namespaces = list(dict.fromkeys((namespace_of(pid), namespace_of("self"))))
    number = _number_inside(pid)
    for path in _directories_of(pid, uid):
        for namespace in namespaces:
            yield os.path.join(path, file_name(number, namespace))
    for user in dict.fromkeys((uid, 0)):  # who has given up being root may have been met before it did
        for namespace in namespaces:
            yield abstract_address(number, user, namespace)


def _directories_of(pid: int, uid: int) -> list[str]:
    try:
        bases = config.directories_for_sockets(config.environment_of(pid))
    except OSError:
        bases = []
    bases += [f"/run/user/{uid}", *config.directories_for_sockets()]
    root = _root_of(pid)
    found = [root + os.path.join(base, name) for base in dict.fromkeys(bases) for name in ("fastlock", f"fastlock-{uid}")]
    return list(dict.fromkeys(found))


def _root_of(pid: int) -> str:
    """Return what leads to the files of a process in another container, nothing where they are ours."""
    try:
        theirs = os.readlink(f"/proc/{pid}/ns/mnt"), os.stat(f"/proc/{pid}/root").st_ino
        ours = os.readlink("/proc/self/ns/mnt"), os.stat("/").st_ino
    except OSError:
        return ""
    return "" if theirs == ours else f"/proc/{pid}/root"


def _number_inside(pid: int) -> int:
    """Return the number that a process has for itself, which in a container is another one."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            inside = next((line.split()[-1] for line in file if line.startswith("NSpid:")), "")
    except OSError:
        return pid
    return int(inside) if inside.isdecimal() else pid


# ---- stale ones -----------------------------------------------------------------------------------------


def sweep(directory: str, most: int | None = None) -> None:
    """Remove the sockets of processes that are gone from a directory of this user's; does nothing where it cannot."""
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for at, entry in enumerate(entries) if most is None or at < most]
    except OSError:
        return
    for name in names:
        number = name.partition("-")[0]
        if number.isdecimal() and not os.path.exists(f"/proc/{number}"):
            remove_if_stale(os.path.join(directory, name))


def remove_if_stale(path: str) -> bool:
    """Remove a socket that nobody listens on from a directory of this user's own; tell whether it was one."""
    try:
        if os.lstat(os.path.dirname(path)).st_uid != os.geteuid() or not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
    except OSError:
        return False
    probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        probe.setblocking(False)
        probe.connect(path)
    except ConnectionRefusedError:
        remove(path)
        return True
    except OSError:
        return False
    finally:
        probe.close()
    return False


def remove(path: str) -> None:
    """Remove a file that may be gone already, or not ours any more to remove."""
    try:
        os.unlink(path)
    except OSError:
        return
