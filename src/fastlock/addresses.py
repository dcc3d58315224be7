"""Addresses to listen on: loopback and unix sockets, for what fastlock says is for who is on the machine already."""

from __future__ import annotations

import os

from fastlock.errors import ConfigError
from fastlock.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST_PATH = 107  # bytes that sun_path has room for, the last one being 0
_LONGEST_PID = "4194304"  # Linux's limit


class Address(NamedTuple):
    """A unix socket's ``path``, which may have {pid} in it, or a loopback ``host`` and ``port``; ``text`` is as it was given."""

    text: str
    path: str | None = None
    host: str = ""
    port: int = 0

    @property
    def each_has_its_own(self) -> bool:
        """Whether several processes with these settings do not get into each other's way."""
        return self.path is not None and "{pid}" in self.path

    def path_now(self) -> str:
        """Return the path with this process's id."""
        return (self.path or "").replace("{pid}", str(os.getpid()))

    def __str__(self) -> str:
        return self.text


def parse_address(value: Any) -> Address:
    """Return the address that "unix:/path", "127.0.0.1:9464", "[::1]:9464" or "localhost:9464" means; else ConfigError."""
    if not isinstance(value, str):
        raise ConfigError('must be "127.0.0.1:9464", "unix:/path" or None')
    if value.startswith("unix:"):
        return _unix(value)
    host, colon, port = value.rpartition(":")
    if not (colon and host and port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        raise ConfigError('must be an address with a port from 1 to 65535, as "127.0.0.1:9464", or "unix:/path"')
    import ipaddress  # not in every process that starts

    try:
        ip = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ConfigError(f"{host} is neither an IP address nor localhost") from None
    if not ip.is_loopback:
        raise ConfigError(f"{host} is no loopback address: others could reach it")
    return Address(value, host=str(ip), port=int(port))


def _unix(value: str) -> Address:
    path = value.removeprefix("unix:")
    if not path.startswith("/"):
        raise ConfigError('a unix socket needs an absolute path, as in "unix:/run/app/livez-{pid}.sock"')
    if "\0" in path or len(os.fsencode(path.replace("{pid}", _LONGEST_PID))) > _MOST_PATH:
        raise ConfigError(f"a unix socket's path has at most {_MOST_PATH} bytes, and no zero in it")
    if not os.path.isdir(os.path.dirname(path)):
        raise ConfigError(f"there is no directory {os.path.dirname(path)}")
    return Address(value, path=path)
