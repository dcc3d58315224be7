"""The compare-and-swap core on native threads, in parallel without the GIL, plain and under sanitizers."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
import fastlock._driver as d
print(repr(([d.drive(4, 3000), d.drive(16, 500)], [d.drive_graph(4, 3000), d.drive_graph(12, 500)], [d.drive_results(2, 500), d.drive_results(5, 300)])))
"""

# The thread that watches the GIL reads what all others write, without any lock of theirs: stalls, forks, settings that change.
WATCHED = """
import ctypes, os, threading, time, warnings
import fastlock
from fastlock import _stall
warnings.simplefilter("ignore")
fastlock.configure(gil_stall=0.05)
mutex, given, rw, over = fastlock.Lock(), fastlock.Lock(name="given"), fastlock.RWLock(), threading.Event()
def hammer():
    with given: pass
def read():
    with rw.read(): time.sleep(0.001)
def write():
    with rw.write(): time.sleep(0.001)
def upgrade():
    with rw.upgradable(), rw.write(): time.sleep(0.001)
def timed():
    if mutex.acquire(timeout=0.01): mutex.release()
def once():
    with mutex: pass
def repeat(step):
    while not over.is_set(): step()
mutex.acquire()
threads = [threading.Thread(target=repeat, args=[step]) for step in (hammer, hammer, read, write, upgrade, timed)]
threads.append(threading.Thread(target=once))
for thread in threads: thread.start()
while not _stall.watches(): time.sleep(0.001)
told = 0
while told < 3:
    with given: ctypes.PyDLL(None).usleep(200_000)
    if _stall.counts()[1] > told:
        told = _stall.counts()[1]
        if os.fork() == 0: os._exit(0)
        os.wait()
        for i in range(20):
            fastlock.configure(gil_stall=0.05 if i % 2 else None)
            time.sleep(0.001)
over.set()
mutex.release()
for thread in threads: thread.join()
print(repr(_stall.counts()))
"""

# Waits of every kind begin and end, and park without the GIL, while a thread copies the table and works on the copy without it.
WAITS = """
import queue, random, threading
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
import fastlock
fastlock.install(threading=True, asyncio=False)
fastlock.configure(slow_wait=0.001)
over, looks, rounds = threading.Event(), [0], 60
items, back, rw = queue.Queue(1), queue.SimpleQueue(), fastlock.RWLock()
barrier, permits, turn = threading.Barrier(3), threading.Semaphore(2), threading.Condition()
pool, single = ThreadPoolExecutor(3), ThreadPoolExecutor(1)
def look():
    while not over.is_set():
        assert not [f for f in fastlock.find_deadlocks() if f.tier == "proven"]
        fastlock.snapshot()
        looks[0] += 1
def put():
    for n in range(rounds): items.put(n); back.get()
    items.join()
def get():
    for n in range(rounds): back.put(items.get()); items.task_done()
def results():
    for n in range(rounds // 4):
        single.submit(pool.submit(int).result).result()
        wait([pool.submit(int) for _ in range(3)])
        list(as_completed([pool.submit(int) for _ in range(3)]))
def meet():
    for n in range(rounds):
        with permits: pass
        barrier.wait()
def take_turns(mine):
    for n in range(rounds):
        with turn:
            turn.wait_for(lambda: turns[0] % 2 == mine)
            turns[0] += 1
            turn.notify_all()
def upgrade():
    for n in range(rounds):
        with rw.upgradable():
            with rw.write(): pass
def read():
    for n in range(rounds):
        with rw.read(): pass
turns = [0]
looker = threading.Thread(target=look)
looker.start()
calls = [put, get, results, results, meet, meet, meet, lambda: take_turns(0), lambda: take_turns(1), upgrade, upgrade, read]
threads = [threading.Thread(target=call) for call in calls]
for thread in threads: thread.start()
for thread in threads: thread.join()
over.set()
looker.join()
pool.shutdown(); single.shutdown()
print(repr((looks[0], [f.code for f in fastlock.findings() if f.code not in ("FL020", "FL031")])))
"""


def runtime(sanitizer: str) -> str | None:
    """Return the compiler's runtime library of a sanitizer, which has to be loaded before python."""
    name = {"thread": "libtsan.so", "address": "libasan.so"}[sanitizer]
    compiler = shutil.which("gcc")
    if compiler is None:
        return None
    path = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
    return path if os.path.isabs(path) else None


# Leaves out asyncio's primitives: the programs use none, and each module is compiled twice more.
BUILD = """
import runpy, setuptools
setup = setuptools.setup
def without_aio(ext_modules, **options):
    setup(ext_modules=[module for module in ext_modules if not module.name.startswith("fastlock._aio")], **options)
setuptools.setup = without_aio
runpy.run_path("setup.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, with what Cython has made of them already: both variants are built in it from the same C."""
    if not (ROOT / "setup.py").exists():
        pytest.skip("only from a checkout")
    copy = tmp_path_factory.mktemp("native")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("*.c", "*.so", "__pycache__"))
    if (ROOT / "build" / "c").exists():
        shutil.copytree(ROOT / "build" / "c", copy / "build" / "c")
    return copy


def build(tree: Path, sanitizer: str) -> Path:
    """Build the variant; return the directory to import from."""
    switches = {"FASTLOCK_CAS": "1", "FASTLOCK_DRIVER": "1", "FASTLOCK_SANITIZE": sanitizer}
    library = tree / sanitizer
    command = [sys.executable, "-c", BUILD, "-q", "build_ext", "--build-lib", str(library)]
    done = subprocess.run(command, cwd=tree, env={**os.environ, **switches}, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    shutil.copytree(tree / "src" / "fastlock", library / "fastlock", dirs_exist_ok=True)
    return library


def run_under(loader: list[str], program: str, env: dict[str, str]) -> Any:
    """Run a program with the sanitizer's runtime; return what it printed."""
    done = subprocess.run([*loader, sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=600)
    if "GLIBC" in done.stderr or "cannot be preloaded" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("this interpreter or container cannot run under the sanitizer")
    assert done.returncode == 0, done.stderr[-4000:]
    return eval(done.stdout)


# A build takes a minute. The driver holds no GIL, so it runs none of what differs from version to version; the watching thread does, and so the
# newest layout of what it reads has a turn as well, where others write it.
@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("gcc"), reason="needs gcc's sanitizers on Linux")
@pytest.mark.parametrize(
    "sanitizer",
    [
        pytest.param("thread", marks=pytest.mark.skipif(sys.version_info[:2] not in {(3, 11), (3, 15)}, reason="the same C as on 3.11 and 3.15")),
        pytest.param("address", marks=pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the same C as on 3.11")),
    ],
)
def test_native_threads(sanitizer: str, tree: Path) -> None:
    """Threads that hold no GIL exclude each other, leave nothing behind, and give the sanitizer nothing to say."""
    pytest.importorskip("Cython")
    library = runtime(sanitizer)
    if library is None:
        pytest.skip(f"this gcc has no runtime for -fsanitize={sanitizer}")
    path = build(tree, sanitizer)
    loader = ["setarch", platform.machine(), "-R"] if sanitizer == "thread" else []  # its shadow fears randomised maps
    env = {**os.environ, "LD_PRELOAD": library, "PYTHONPATH": str(path), "ASAN_OPTIONS": "detect_leaks=0"}
    env["TSAN_OPTIONS"] = "exitcode=66"
    env.pop("FASTLOCK_INSTALL", None)
    primitives, graphs, results = run_under(loader, PROGRAM, env)
    for run, waits in zip(results, (1000, 1500)):
        assert run["waits"] == waits and run["circles"] > 0
    for run in graphs:
        assert run["fault"] is None
        assert run["shown"] > run["edges"] > 100
        assert run["known"] > 0 and run["found"] > 0
    for run in primitives:
        assert run["idle"]
        assert run["mutex"][0] == run["mutex"][1] > 0
        assert run["rwlock"][0] == run["rwlock"][1] > 0
        assert run["upgradable"][0] == run["upgradable"][1] > 0
    env["TSAN_OPTIONS"] += ":detect_deadlocks=0"  # that part knows no more than 64 mutexes of a thread, and a fork takes them all
    looks, stalls = run_under(loader, WATCHED, env)
    assert looks > stalls >= 3
    copies, findings = run_under(loader, WAITS, env)
    assert copies > 0 and findings == []
