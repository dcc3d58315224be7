"""The house stays in order: imports point one way, files and functions stay small, and the hot path stays C."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
SOURCES = PROJECT / "src" / "fastlock"
pytestmark = pytest.mark.skipif(not SOURCES.is_dir(), reason="the sources are not here")

# Each module may import what stands further up; a package counts as one, and its modules may import each other.
LAYERS = (
    {"_native", "_futures", "_last_thread"},
    {"_mapping", "lean", "sources"},
    {"_sites", "_task_names"},
    {"_table"},
    {"_tasks"},
    {"_pool"},
    {"_told", "_shares", "_woken", "_wakers"},
    {"_contended"},
    {"_park"},
    {"_found"},
    {"_waits"},
    {"_resolve", "_stall_text", "_needs"},
    {"_copy"},
    {"_stall"},
    {"_graph_types"},
    {"_topology", "_segments", "_evidence"},
    {"_records"},
    {"_judge"},
    {"_store"},
    {"_learn"},
    {"_graph"},
    {"_graph_py"},
    {"_options"},
    {"_facts"},
    {"_shown", "_classes", "_delays"},
    {"_clocks", "_order_facts"},
    {"_order", "_asked"},
    {"_loop_facts"},
    {"_block", "_awaits"},
    {"_loops", "_late", "_overdue", "_stuck"},
    {"_stuck_facts"},
    {"_core"},
    {"_reused"},
    {"_awaited"},
    {"_sync", "_rwlock", "_nesting", "_driver", "_aio", "_listen", "_joins", "_declared", "_lent"},
    {"_results", "_simple"},
    {"_aio_locks", "_aio_shared"},
    {"_aio_semaphores", "_aio_rwlock", "_aio_conditions"},
    {"_aio_barrier", "_aio_multiple"},
    {"errors", "findings", "forest", "imports", "replacing", "futures", "aio", "levels", "stderr", "tally", "responder"},
    {"fingerprints", "roots"},
    {"reporting", "kept", "outside", "hooks", "addresses", "values"},
    {"assemble", "explain", "multiple", "orderfile", "related", "chains", "circles"},
    {"guests"},
    {"config"},
    {"loops", "suspended", "sockets", "pace", "vitals"},
    {"resting"},
    {"suppression", "ways", "patching_aio", "patching_waits", "standing", "stalls", "processes", "tabled"},
    {"rooted"},
    {"watchdog"},
    {"patching"},
    {"look", "order", "measures"},
    {"asked"},
    {"whereabouts"},
    {"answers"},
    {"control", "calling", "openfeature"},
    {"console"},
    {"advising", "exposition"},
    {"summary", "prometheus", "livez"},
    {"serving"},
    {"__init__"},
    {"auto", "cli"},
    {"__main__"},
)
RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}

# Imports inside functions that point the other way, and why each has to.
UPWARD = {
    ("findings", "reporting"): "str(finding) is the text report",
    ("findings", "roots"): "snapshot.roots are made of it when they are asked for",
    ("roots", "reporting"): "str(root) is its tree as text",
    ("answers", "__init__"): "the version is the package's",
    ("patching", "__init__"): "install() puts the public names in threading's place",
}

# Who may know threading at all: patching changes it.
THREADING = {
    "patching": "changes it",
    "_core": "gives the factory the name that it pickles by",
    "_sync": "raises its BrokenBarrierError",
    "_clocks": "finds the Thread object that the running thread's clock hangs on, where it is loaded",
    "_declared": "tells a thread from what is none, where it is loaded",
    "_table": "reads the names of threads, where it is loaded",
    "stalls": "tells whether the interpreter ends, and for whose end it waits",
    "_woken": "tells whether it has started the running thread",
}

# What a process in which fastlock is installed imports of the standard library besides what each one does; not all of it on each version. Every
# process that inherits FASTLOCK_INSTALL pays for it, and its full collections walk it: a module of Python's here has a reason.
AT_START = {
    "__future__": "every module of ours begins with it",
    "opcode": "what variable a new lock was assigned to; up to 3.12",
    "types": "the types of coroutines and generators",
}
# Written in C: their import costs next to nothing.
AT_START_C = {"_collections", "_heapq", "_json", "_opcode", "_opcode_metadata", "_queue", "_sha2", "_sha256", "_socket", "_types", "_weakref"}
AT_START_C |= {"_xxsubinterpreters", "atexit", "gc", "itertools", "unicodedata"}

MOST_LINES = 400
# One extension module is one translation unit: calls inside it are inlined, calls to another go through a pointer. So what
# belongs to one hot or one guarded thing stays together for longer.
LARGE = {"_aio.pyx": 690, "_block.pyx": 440, "_core.pyx": 815, "_contended.pyx": 440, "_facts.pyx": 665, "_park.pyx": 710, "_rwlock.pyx": 420, "_aio_rwlock.pyx": 460, "_resolve.pyx": 470, "_sync.pyx": 745, "_table.pyx": 730, "_sites.pyx": 420}
LARGE |= {"_topology.pyx": 540, "_waits.pyx": 660}
# All settings with their rules, what is read in asyncio's objects, and the sentences of all codes: each is one table of cases.
LARGE |= {"config.py": 540, "explain.py": 410, "suspended.py": 470, "wording.py": 460}
LARGE |= {"watchdog.py": 410}  # who reports, with the life of its thread
MOST_LINES_OF_A_FUNCTION = 40


def module_of(path: Path) -> str:
    """The layer's name for a file: its stem, or the package that it lies in."""
    inside = path.relative_to(SOURCES)
    return inside.parts[0] if len(inside.parts) > 1 else path.stem


def python_files() -> list[Path]:
    return sorted(SOURCES.rglob("*.py"))


def cython_files() -> list[Path]:
    return sorted([*SOURCES.glob("*.pyx"), *SOURCES.glob("*.pxd")])


def is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports_in(node: ast.AST, deep: bool = False) -> Iterator[tuple[int, bool, str]]:
    """(line, whether inside a function, dotted name) of each import that runs."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((child.lineno, deep, alias.name) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: relative import"
            yield from ((child.lineno, deep, f"{child.module}.{alias.name}") for alias in child.names)
        elif not (isinstance(child, ast.stmt) and is_for_types(child)):
            yield from imports_in(child, deep or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))


def ours(name: str) -> str | None:
    """The module of ours that a dotted name imports, None for others'."""
    parts = name.split(".")
    if parts[0] != "fastlock":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in RANK else "__init__"


def python_imports() -> Iterator[tuple[str, str, str, bool]]:
    """(place, module, imported module of ours, whether inside a function)."""
    for path in python_files():
        for line, deep, name in imports_in(ast.parse(path.read_text())):
            target = ours(name)
            if target is not None:
                yield f"{path.name}:{line}", module_of(path), target, deep


def cython_imports() -> Iterator[tuple[str, str, str, bool]]:
    for path in cython_files():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r"\s*from (fastlock\.\w+) c?import", line) or re.match(r"\s*c?import (fastlock\.\w+)", line)
            if found:
                yield f"{path.name}:{number}", path.stem, ours(found[1]) or "", False


def test_every_module_has_its_layer() -> None:
    """A new module is put into the order, and one that is gone is taken out."""
    present = {module_of(path) for path in [*python_files(), *cython_files()]}
    assert present - set(RANK) == set()
    assert set(RANK) - present <= {"_native"}


def test_imports_point_one_way() -> None:
    """No module imports one from its own layer or from above, but for the few late ones that say why."""
    wrong = []
    for place, module, target, deep in [*python_imports(), *cython_imports()]:
        fine = module == target or RANK[target] < RANK[module] or (deep and (module, target) in UPWARD)
        if not fine:
            wrong.append(f"{place}: {module} imports {target}")
    assert wrong == []


def test_findings_and_errors_stand_alone() -> None:
    """What other programs take apart imports nothing of ours but what stands in for the standard library, which imports nothing."""
    alone = {"findings": "lean", "errors": None, "lean": None, "sources": None}
    found = [place for place, module, target, deep in python_imports() if module in alone and not deep and target != alone[module]]
    assert found == []


def code_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines without comments and docstrings, roughly: good enough to look for a name."""
    text = re.sub(r'"""[\s\S]*?"""', lambda found: "\n" * found[0].count("\n"), path.read_text())
    for number, line in enumerate(text.splitlines(), 1):
        yield number, line.partition("#")[0]


def places(pattern: str, allowed: set[str]) -> list[str]:
    return [
        f"{path.name}:{number}: {line.strip()}"
        for path in [*python_files(), *SOURCES.glob("*.pyx"), PROJECT / "src" / "_fastlock_start.py"]
        if path.stem not in allowed
        for number, line in code_lines(path)
        if re.search(pattern, line)
    ]


def test_only_config_reads_the_environment() -> None:
    """Nobody else has os.environ in it."""
    assert places(r"\benviron\b|\bgetenv\b", {"config"}) == []


def test_only_patching_touches_threading() -> None:
    """Few modules know threading, and one changes it."""
    assert places(r"import threading\b|from threading\b|['\"]threading['\"]", set(THREADING)) == []
    assert places(r"setattr\(\s*_?threading|\b_?threading\.\w+\s*=[^=]", {"patching"}) == []


def test_files_stay_small() -> None:
    """What has grown too long to be read at once is to be split."""
    files = [*python_files(), *cython_files(), *SOURCES.glob("*.pyi"), *SOURCES.glob("*.h")]
    files += [*(PROJECT / "benchmarks").glob("*.py"), *(PROJECT / "examples").glob("*.py")]
    sizes = {path.name: len(path.read_text().splitlines()) for path in files}
    assert {name: size for name, size in sizes.items() if size > LARGE.get(name, MOST_LINES)} == {}


def test_functions_stay_small() -> None:
    """The same for functions of Python modules."""
    large = []
    for path in [*python_files(), *(PROJECT / "benchmarks").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                size = (node.end_lineno or 0) - node.lineno + 1
                if size > MOST_LINES_OF_A_FUNCTION:
                    large.append(f"{path.name}:{node.lineno}: {node.name} has {size} lines")
    assert large == []


def modules_at_start(**environment: str) -> set[str]:
    """What an interpreter has imported before the first line of its program."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("FASTLOCK_")}
    command = [sys.executable, "-c", "import sys; print(*sys.modules)"]
    done = subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


def test_a_start_imports_little_of_the_standard_library() -> None:
    """A module that is new here makes each start of each process longer: it is imported where it is used, done without, or has its reason above."""
    more = modules_at_start(FASTLOCK_INSTALL="1") - modules_at_start()
    ours = {name for name in more if name.startswith(("fastlock", "_fastlock", "_cython", "cython_runtime"))}
    assert "fastlock.watchdog" in ours
    assert more - ours - set(AT_START) - AT_START_C == set()


# ---- the hot path -------------------------------------------------------------------------------

# How much of the Python C-API Cython may need for the worst line of each: 0 is plain C, 2 returns a constant, 3 a bool, 5 to
# 10 is an error check, a call of Python code is 10 and more. Left out are the line with `def`, which holds the binding to
# Python, and lines that raise.
SCORES = {
    ("_core.pyx", "lock_enter_method"): 2,
    ("_core.pyx", "lock_exit_method"): 2,
    ("_core.pyx", "lock_acquire_method"): 3,
    ("_core.pyx", "lock_release_method"): 2,
    ("_core.pyx", "lock_enter_in_loop"): 2,
    ("_core.pyx", "lock_exit_in_loop"): 2,
    ("_core.pyx", "lock_acquire_in_loop"): 3,
    ("_core.pyx", "lock_release_in_loop"): 2,
    ("_core.pyx", "lock_take"): 0,
    ("_core.pyx", "rlock_enter_method"): 2,
    ("_core.pyx", "rlock_exit_method"): 0,
    ("_core.pyx", "rlock_acquire_method"): 3,
    ("_core.pyx", "rlock_release_method"): 0,
    ("_core.pyx", "rlock_take"): 0,
    ("_core.pyx", "rlock_release"): 0,
    ("_core.pyx", "rlock_owned"): 0,
    ("_core.pyx", "new_lock"): 1,
    ("_sync.pyx", "permit_take"): 0,
    ("_sync.pyx", "note_permit"): 0,
    ("_sync.pyx", "permits_give"): 0,
    ("_sync.pyx", "Semaphore.acquire"): 8,
    ("_sync.pyx", "Semaphore.release"): 5,
    ("_sync.pyx", "Semaphore.__exit__"): 5,
    ("_sync.pyx", "Event.set"): 0,
    ("_sync.pyx", "Event.clear"): 0,
    ("_sync.pyx", "Event.wait"): 5,
    ("_sync.pyx", "Condition.__enter__"): 5,
    ("_sync.pyx", "Condition.notify"): 5,
    ("_sync.pyx", "lock_exit"): 0,
    ("_rwlock.pyx", "read_take"): 0,
    ("_rwlock.pyx", "read_give"): 0,
    ("_rwlock.pyx", "write_take"): 0,
    ("_rwlock.pyx", "write_give"): 0,
    ("_rwlock.pyx", "read_enter_method"): 2,
    ("_rwlock.pyx", "write_enter_method"): 2,
    ("_rwlock.pyx", "rwlock_read_method"): 2,
    ("_rwlock.pyx", "RWLock.release_read"): 0,
    ("_core.pxd", "note_site"): 0,
    ("_core.pxd", "note_taken"): 0,
    ("_core.pxd", "note_given"): 0,
    ("_core.pxd", "order_before"): 0,
}


def block(lines: list[str], name: str) -> tuple[int, int]:
    """First and last line of a function, named as Class.method or by itself, in Cython source."""
    holder, _, function = name.rpartition(".")
    start = 0
    if holder:
        start = next(i for i, line in enumerate(lines) if re.match(rf"cdef class {holder}\b", line)) + 1
    pattern = rf"\s*(?:def|cdef)\b[^=(]*\b{function}\("
    first = next(i for i in range(start, len(lines)) if re.match(pattern, lines[i]))
    indent = len(lines[first]) - len(lines[first].lstrip())
    last = first
    while last + 1 < len(lines):
        line = lines[last + 1]
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        last += 1
    return first + 1, last + 1


def annotate(path: Path, name: str, tmp_path: Path) -> dict[int, int]:
    """Cython's score of every line of a file."""
    command = [sys.executable, "-m", "cython", "-a", "-3", "-I", str(SOURCES.parent), str(path), "-o", str(tmp_path / f"{name}.c")]
    done = subprocess.run(command, cwd=SOURCES.parent, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    html = (tmp_path / f"{name}.html").read_text()
    found = re.findall(r'<pre class="cython line score-(\d+)"[^>]*>.<span class="">0*(\d+)</span>', html.replace("&#xA0;", " "))
    return {int(line): int(score) for score, line in found}


def inline_as_module(path: Path, name: str, tmp_path: Path) -> Path:
    """A module with one inline function of a .pxd file in it, for Cython annotates no .pxd."""
    lines = path.read_text().splitlines()
    first, last = block(lines, name)
    imports = [line for line in lines if line.startswith("from ")]
    declared = re.findall(r"^cdef (?:inline )?[\w*]+ (\w+)(?=\(|$)|^    (\w+) = \d+", path.read_text(), re.M)
    others = sorted({function or member for function, member in declared} - {name})
    imports.append(f"from fastlock.{path.stem} cimport {', '.join(others)}")
    module = tmp_path / f"hot_{name}.pyx"
    module.write_text("# cython: language_level=3\n" + "\n".join([*imports, "", *lines[first - 1 : last]]) + "\n")
    return module


@pytest.mark.parametrize("file", ["_core.pyx", "_sync.pyx", "_rwlock.pyx", "_core.pxd"])
def test_the_hot_path_stays_c(file: str, tmp_path: Path) -> None:
    """No line of a hot function needs more of Python than it did; the failure names function and line."""
    pytest.importorskip("Cython", reason="Cython is not installed (the extra `test` has it)")
    names = [name for hot, name in SCORES if hot == file]
    risen = []
    scores: dict[int, int] = {}
    path = SOURCES / file
    if path.suffix == ".pyx":
        scores = annotate(path, path.stem, tmp_path)
    for name in names:
        if file.endswith(".pxd"):
            path = inline_as_module(SOURCES / file, name, tmp_path)
            scores = annotate(path, path.stem, tmp_path)
        lines = path.read_text().splitlines()
        first, last = block(lines, name)
        for number in range(first + 1, last + 1):
            raises = lines[number - 1].lstrip().startswith("raise ")
            if scores.get(number, 0) > SCORES[file, name] and not raises:
                risen.append(f"{name}, line {number}: score {scores[number]}, not {SCORES[file, name]}: {lines[number - 1].strip()}")
    assert risen == []
