"""install() and asyncio: what is replaced once the program imports it, what comes back, and where it is refused to work."""

from __future__ import annotations

import importlib
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastlock import imports
from support import answer, run_program, wait_until

NAMES = ("Lock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Barrier")
PRELUDE = f"""
import json, sys
import fastlock
from fastlock import imports, patching, patching_aio

def ours(*modules):
    "Which names of these modules are fastlock.aio's."
    return sorted({{name for name in {NAMES} for module in modules
                   if name in fastlock.aio.__all__ and getattr(module, name, None) is getattr(fastlock.aio, name)}})

def expected(module):
    "Which of asyncio's names fastlock.aio has."
    return sorted(name for name in {NAMES} if name in fastlock.aio.__all__ and hasattr(module, name))

def tell(value):
    print(json.dumps(value), flush=True)
"""


def ask(source: str, **options: object) -> object:
    """Run a program behind PRELUDE; return what it told."""
    return answer(run_program(PRELUDE + source, **options))


# ---- what is replaced


def test_asyncio_is_patched_when_it_is_imported() -> None:
    """install() imports no asyncio; the program's import finds fastlock's types under every name, and nobody waits for it any more."""
    told = ask(
        """
fastlock.install()
before = "asyncio" in sys.modules
import asyncio
loader = type(asyncio.__spec__.loader)
tell([before, ours(asyncio) == ours(asyncio.locks) == expected(asyncio), "Lock" in ours(asyncio), "asyncio" in imports._waiting,
      loader is type(asyncio.__loader__) is type(json.__loader__), patching_aio.installed()])
"""
    )
    assert told == [False, True, True, False, True, True]


@pytest.mark.parametrize("first", ["import fastlock.aio", "from fastlock.aio import Lock", "from fastlock import aio", "fastlock.aio.Lock()"])
def test_ours_may_bring_asyncio(first: str) -> None:
    """Where the program's first import is of fastlock.aio, it is complete when asyncio is patched, and both are there."""
    told = ask(f"""
fastlock.install()
before = "asyncio" in sys.modules
{first}
import asyncio
tell([before, fastlock.aio.Lock is asyncio.Lock, sorted(ours(asyncio)) != [], patching_aio.installed(),
      [name for name in ("asyncio", "fastlock.aio") if name in imports._waiting]])
""")
    assert told == [False, True, True, True, []]


def test_asyncio_that_is_there_is_patched_at_once() -> None:
    """Names, copies of names in other modules and functions are replaced, and all of it comes back by uninstall()."""
    told = ask(
        """
import asyncio, concurrent.futures.thread, types
import fastlock.aio
from asyncio import Lock, run_coroutine_threadsafe
def everything():
    return {(name, key): id(value) for name, module in sys.modules.copy().items() if type(module) is types.ModuleType
            and name not in ("fastlock.patching_aio", "fastlock.futures")
            for key, value in vars(module).copy().items() if callable(value)}
before = everything(), concurrent.futures.thread.ThreadPoolExecutor.submit
fastlock.install(threading=False)
fastlock.install(threading=False)
meanwhile = [Lock is fastlock.aio.Lock, run_coroutine_threadsafe is asyncio.tasks.run_coroutine_threadsafe,
             concurrent.futures.thread.ThreadPoolExecutor.submit is not before[1], patching.installed()]
fastlock.uninstall()
after = everything(), concurrent.futures.thread.ThreadPoolExecutor.submit
fastlock.uninstall()
tell([meanwhile, after == before, Lock is asyncio.Lock, patching_aio.installed()])
"""
    )
    assert told == [[True, True, True, False], True, True, False]


@pytest.mark.parametrize(("arguments", "threads", "tasks"), [("asyncio=False", True, False), ("False", False, True), ("False, False", False, False)])
def test_each_may_be_left_out(arguments: str, threads: bool, tasks: bool) -> None:
    """install() replaces threading's, asyncio's or none, as it is told."""
    told = ask(f"fastlock.install({arguments})\nimport asyncio, threading\ntell([threading.Lock is fastlock.Lock, 'Lock' in ours(asyncio)])")
    assert told == [threads, tasks]


def test_one_after_the_other() -> None:
    """A second install() adds what the first one left out."""
    told = ask(
        """
import asyncio, threading
fastlock.install(asyncio=False)
first = bool(ours(asyncio))
fastlock.install()
tell([first, ours(asyncio) == expected(asyncio), threading.Lock is fastlock.Lock])
"""
    )
    assert told == [False, True, True]


def test_uninstall_before_the_import() -> None:
    """Nobody waits for asyncio after uninstall(): it stays as it is."""
    told = ask(
        """
fastlock.install()
fastlock.uninstall()
import asyncio
tell(ours(asyncio))
"""
    )
    assert told == []


def test_reload_keeps_what_is_there() -> None:
    """Reloading asyncio gives fastlock's types again, and uninstall() still brings the others back."""
    told = ask(
        """
import asyncio, importlib
original = asyncio.Lock
fastlock.install()
importlib.reload(asyncio)
meanwhile = ours(asyncio) == expected(asyncio)
fastlock.uninstall()
tell([meanwhile, asyncio.locks.Lock is original])
"""
    )
    assert told == [True, True]


def test_subclasses_and_older_locks() -> None:
    """asyncio.Lock is a class for programs, too; locks from before are none of its instances and go on working."""
    told = ask(
        """
import asyncio
old, old_queue = asyncio.Lock(), asyncio.Queue()
fastlock.install()
class Mine(asyncio.Lock):
    async def acquire(self):
        entered.append(self)
        return await super().acquire()
entered = []
async def main():
    async with old, Mine() as _:
        await old_queue.put(1)
        queue = asyncio.Queue()
        queue.put_nowait(2)
        return await old_queue.get(), await queue.get(), old.locked()
tell([isinstance(old, asyncio.Lock), isinstance(Mine(), asyncio.Lock), asyncio.run(main()), len(entered)])
"""
    )
    assert told == [False, True, [1, 2, True], 1]


def test_older_locks_are_counted() -> None:
    """snapshot().raw_locks has asyncio's own locks and semaphores that fastlock cannot see."""
    told = ask(
        """
import asyncio
kept = [asyncio.Lock() for _ in range(20)] + [asyncio.Semaphore() for _ in range(3)]
fastlock.install(threading=False)
tell(fastlock.snapshot().raw_locks)
"""
    )
    semaphores = "Semaphore" in importlib.import_module("fastlock.aio").__all__
    assert told == (23 if semaphores else 20)


# ---- the ways in


@pytest.mark.parametrize("way", ["FASTLOCK_INSTALL", "auto", "verbose"])
def test_every_way_in_reaches_asyncio(way: str, python, tmp_path: Path) -> None:
    """The start file and fastlock.auto install in asyncio as well, and leave it to the program to import it."""
    code = "import sys; before = 'asyncio' in sys.modules; import asyncio, fastlock; print(before, asyncio.Lock is fastlock.aio.Lock)"
    variables = {"FASTLOCK_INSTALL": "1"}
    if way == "auto":
        code, variables = f"import fastlock.auto; {code}", {}
    if way == "verbose":
        variables["FASTLOCK_VERBOSE"] = "1"
    done = python("-c", code, env=variables)
    assert done.stdout == "False True\n", done.stderr
    assert ("raw locks existed before and cannot be seen" in done.stderr) == (way == "verbose")


def test_disabled_means_untouched(python) -> None:
    """Under FASTLOCK_DISABLE=1 asyncio stays as it is."""
    code = "import fastlock; fastlock.install(); import asyncio; print(asyncio.Lock.__module__)"
    assert python("-c", code, env={"FASTLOCK_DISABLE": "1"}).stdout == "asyncio.locks\n"


# ---- the hook


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Provide a directory on sys.path whose modules are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("probe_")]:
        del sys.modules[name]
    for name in [name for name in imports._waiting if name.startswith("probe_")]:
        for follower in list(imports._waiting[name]):
            imports.forget(name, follower)


def test_a_body_that_raises_is_tried_again(directory: Path) -> None:
    """Where the import fails nobody is told, and the next import that succeeds is followed."""
    (directory / "probe_raises.py").write_text("import builtins\nif not hasattr(builtins, 'probe'):\n    builtins.probe = 1\n    raise ValueError\n")
    seen: list[types.ModuleType] = []
    imports.after("probe_raises", seen.append)
    with pytest.raises(ValueError):
        importlib.import_module("probe_raises")
    assert seen == []
    assert seen == [importlib.import_module("probe_raises")] or seen == [sys.modules["probe_raises"]]
    import builtins

    del builtins.probe  # type: ignore[attr-defined]


def test_a_look_does_not_end_the_wait(directory: Path) -> None:
    """find_spec without an import finds the real thing and changes nothing."""
    (directory / "probe_look.py").write_text("")
    seen: list[types.ModuleType] = []
    imports.after("probe_look", seen.append)
    spec = importlib.util.find_spec("probe_look")
    assert spec is not None and spec.origin == str(directory / "probe_look.py") and seen == []
    module = importlib.import_module("probe_look")
    assert seen == [module]
    assert type(module.__spec__.loader).__module__ != "fastlock.imports"


def test_other_hooks_go_on_working(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finders before and behind ours that ask all others, and wrap loaders, as tracers have them: each sees the module once."""
    (directory / "probe_hooked.py").write_text("")
    executed: list[str] = []

    class Other:
        def __init__(self, tag: str) -> None:
            self.tag, self.busy = tag, False

        def find_spec(self, name: str, path: object = None, target: object = None) -> object:
            if name != "probe_hooked" or self.busy:
                return None
            self.busy = True
            try:
                spec = importlib.util.find_spec(name)
            finally:
                self.busy = False
            spec.loader = Wrapper(spec.loader, self.tag)
            return spec

    class Wrapper:
        def __init__(self, original: object, tag: str) -> None:
            self.original, self.tag = original, tag

        def create_module(self, spec: object) -> None:
            return None

        def exec_module(self, module: types.ModuleType) -> None:
            self.original.exec_module(module)
            executed.append(self.tag)

    seen: list[types.ModuleType] = []
    monkeypatch.setattr(sys, "meta_path", [Other("inner"), *sys.meta_path])
    imports.after("probe_hooked", seen.append)
    sys.meta_path.insert(0, Other("outer"))
    module = importlib.import_module("probe_hooked")
    assert seen == [module]
    assert sorted(executed) == ["inner", "outer"]
    assert type(module.__spec__.loader) is Wrapper  # the outermost one is left as its owner put it there




@pytest.fixture
def slow(directory: Path) -> types.ModuleType:
    """Provide the switches of a module `probe_slow` whose body waits in the middle."""
    switches = types.ModuleType("probe_switches")
    switches.begun, switches.go_on = threading.Event(), threading.Event()
    sys.modules["probe_switches"] = switches
    (directory / "probe_slow.py").write_text(
        "import probe_switches\nprobe_switches.begun.set()\nprobe_switches.go_on.wait(30)\ncomplete = True\n"
    )
    return switches


def in_import(thread: threading.Thread) -> bool:
    """Tell whether a thread stands inside the import system."""
    frame = sys._current_frames().get(thread.ident)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def test_threads_that_import_at_once(slow: types.ModuleType) -> None:
    """Whoever imports the module while another thread does sees it only after it has been followed."""
    saw: list[bool] = []

    def follow(module: types.ModuleType) -> None:
        module.followed = getattr(module, "followed", 0) + 1

    imports.after("probe_slow", follow)
    threads = [threading.Thread(target=lambda: saw.append(importlib.import_module("probe_slow").followed)) for _ in range(4)]
    threads[0].start()
    assert slow.begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        wait_until(lambda thread=thread: in_import(thread))
    slow.go_on.set()
    for thread in threads:
        thread.join(30)
    assert saw == [1, 1, 1, 1]


def test_an_import_that_began_before(slow: types.ModuleType) -> None:
    """Who comes in the middle of somebody else's import waits for its end, and finds all of the module."""
    complete: list[bool] = []
    importer = threading.Thread(target=importlib.import_module, args=("probe_slow",))
    importer.start()
    assert slow.begun.wait(30)
    late = threading.Thread(target=imports.after, args=("probe_slow", lambda module: complete.append(module.complete)))
    late.start()
    wait_until(lambda: in_import(late))
    assert complete == []
    slow.go_on.set()
    late.join(30)
    importer.join(30)
    assert complete == [True]


# ---- where it is refused to work


def test_without_a_loop_it_says_so() -> None:
    """Waiting with no running loop of asyncio's is a RuntimeError in words of ours."""
    told = ask(
        """
lock = fastlock.aio.Lock()
try:
    lock.acquire().send(None)
except RuntimeError as error:
    tell(str(error))
"""
    )
    assert told == "no running event loop: fastlock.aio.Lock works under asyncio only"


def test_trio_is_refused() -> None:
    """Under trio there is no loop of asyncio's, whether the lock is free or not."""
    pytest.importorskip("trio")
    told = ask(
        """
import trio
fastlock.install()
lock = fastlock.aio.Lock()
async def main():
    said = []
    for way in (lock.acquire, lock.__aenter__):
        try:
            await way()
        except RuntimeError as error:
            said.append(str(error))
    async with trio.Lock():
        said.append(lock.locked())
    return said
tell(trio.run(main))
"""
    )
    text = "no running event loop: fastlock.aio.Lock works under asyncio only"
    assert told == [text, text, False]


def test_anyio_on_asyncio_works() -> None:
    """anyio's tasks are asyncio's: locks, cancel scopes and worker threads do what they do without fastlock."""
    pytest.importorskip("anyio")
    told = ask(
        """
fastlock.install()
import anyio, asyncio, anyio.to_thread, anyio.from_thread
lock, log = asyncio.Lock(), []
async def member(number):
    async with lock:
        await anyio.sleep(0)
        log.append(number)
def in_thread():
    return anyio.from_thread.run(member, 7)
async def main():
    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(member, number)
    async def keep(task_status):
        async with lock:
            task_status.started()
            await anyio.sleep_forever()
    async with anyio.create_task_group() as group:
        await group.start(lambda task_status: keep(task_status))
        with anyio.move_on_after(0.01) as scope:
            await member(5)
        group.cancel_scope.cancel()
    await anyio.to_thread.run_sync(in_thread)
    return [sorted(log), scope.cancelled_caught, lock.locked(), len(fastlock.findings()), type(lock) is fastlock.aio.Lock]
tell(anyio.run(main))
"""
    )
    assert told == [[0, 1, 2, 7], True, False, 0, True]
