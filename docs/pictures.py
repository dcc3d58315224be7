"""The pictures of docs/pictures, made anew: the console while it looks at examples/service under load, of which one worker gets stuck.

    python docs/pictures.py        # needs fastlock[console,example]; some seconds; Linux

The service runs as its README says, at level `order`. Pids, ages and which worker it is differ from run to run.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fastlock.console.app import Top
from fastlock.console.fleet import Fleet
from fastlock.console.pages import Page
from fastlock.console.tables import Grid, text_of

DOCS = Path(__file__).resolve().parent
SERVICE = DOCS.parent / "examples" / "service"
PICTURES = DOCS / "pictures"
SIZE = (100, 26)
NARROW = (40, 10)
LIMIT_S = 60.0
ANSWERED_S = 15.0
SETTLED_S = 12.0  # after which there are findings, lints and answers
_WORDS = re.compile(r'(?P<begin><text [^>]*?)textLength="(?P<room>[\d.]+)"(?P<more>[^>]*)>(?P<text>[^<]*)</text>')
_LIBRARY = re.compile(r"/[^\s<&]*/site-packages/")
SHOTS = (  # a picture, and the keys that lead to it from the one before
    ("waits", ["1"]),
    ("circle", ["enter"]),
    ("processes", ["8"]),
    ("locks", ["2"]),
    ("lock", ["enter"]),
    ("order", ["4"]),
    ("inversion", ["enter"]),
    ("findings", ["5"]),
    ("roots", ["6"]),
    ("root", ["enter"]),
    ("lints", ["7"]),
    ("light", ["1", "t"]),
)


@contextlib.contextmanager
def service() -> Iterator[int]:
    """The service on a port of its own; the number of gunicorn's master."""
    ours = {"FASTLOCK_INSTALL": "1", "FASTLOCK_LEVEL": "order", "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "gunicorn", "--config", str(SERVICE / "gunicorn.conf.py"), "--bind", "127.0.0.1:0", "app:app"]
        server = subprocess.Popen(command, cwd=SERVICE, env={**os.environ, **ours}, stdout=log, stderr=log, start_new_session=True)
        try:
            until(lambda: _address(log.fileno()) is not None, "the service does not come up")
            load = [sys.executable, str(SERVICE / "load.py"), "--url", f"http://{_address(log.fileno())}"]
            subprocess.run([*load, "--orders", "600", "--deliveries", "400", "--timeout", "1"], stdout=subprocess.DEVNULL, timeout=LIMIT_S * 5)
            yield server.pid
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _address(log: int) -> str | None:
    told = os.pread(log, 1_000_000, 0).decode(errors="replace")
    found = re.search(r"Listening at: http://(\S+)", told)
    return None if found is None or told.count("Booting worker") < 4 else found[1]


def until(what: object, trouble: str) -> None:
    """Wait until something is so."""
    assert callable(what)
    end = time.monotonic() + LIMIT_S
    while not what():
        if time.monotonic() > end:
            raise SystemExit(trouble)
        time.sleep(0.05)


async def shown(app: Top) -> None:
    """Wait until what was asked for is shown, with what the processes have answered."""
    end = time.monotonic() + ANSWERED_S
    await asyncio.sleep(1.0)
    while not app.is_settled or (time.monotonic() < end and any("being asked" in note for note in page_of(app).notes)):
        await asyncio.sleep(0.05)


def page_of(app: Top) -> Page:
    """The page that is shown."""
    assert app.told is not None and app.told.page is not None
    return app.told.page


async def take(fleet: Fleet) -> None:
    """Take all pictures."""
    app = Top(fleet)
    async with app.run_test(size=SIZE) as pilot:
        await asyncio.sleep(SETTLED_S)
        for name, keys in SHOTS:
            for key in keys:
                await pilot.press(key)
                await shown(app)
            save(app, name)
        await pilot.press("t")
        await pilot.resize_terminal(*NARROW)
        await shown(app)
        save(app, "narrow")


def save(app: Top, name: str) -> None:
    """Write a picture."""
    PICTURES.mkdir(exist_ok=True)
    lines = [text_of(line) for section in page_of(app).sections if not isinstance(section.body, Grid) for line in section.body]
    if name == "circle" and not all(any(file in line for line in lines) for file in ("orders.py:", "inventory.py:")):
        raise SystemExit("One key does not lead to both lines of code.")
    (PICTURES / f"{name}.svg").write_text(_neutral(app.export_screenshot(title="fastlock top", simplify=True)))


def _neutral(svg: str) -> str:
    """Leave out where this machine has the service and its packages; what is shorter takes less room."""

    def shorter(found: re.Match[str]) -> str:
        told = _LIBRARY.sub("/srv/shop/lib/", found["text"].replace(str(SERVICE), "/srv/shop"))
        room = float(found["room"]) * len(html.unescape(told)) / max(1, len(html.unescape(found["text"])))
        return f'{found["begin"]}textLength="{room:g}"{found["more"]}>{told}</text>'

    return _WORDS.sub(shorter, svg)


def main() -> int:
    """Make the pictures; 1 where the service did not get stuck."""
    with service() as pid, Fleet([pid]) as fleet:
        if "deadlocked" not in {seen.health for seen in fleet.refresh()}:
            print("No worker is deadlocked: the load was too small; once more may do.", file=sys.stderr)
            return 1
        asyncio.run(take(fleet))
    print(f"{len(SHOTS) + 1} pictures in {PICTURES}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
