"""What an interpreter imports when fastlock is installed in it: every process that inherits the variable pays for it."""

from __future__ import annotations

import sys

import fastlock
from support import answer, run_program

# What is imported by who asks for it; of the standard library's modules test_architecture has the list.
SPARED = ["fastlock.order", "fastlock.advising", "fastlock.summary", "fastlock.measures", "fastlock.vitals"]


def test_a_start_spares_what_no_report_needs() -> None:
    """A report is no place for a first import, so what one needs is there from the start, and the rest is not."""
    source = """
    import sys
    at_start = set(sys.modules)
    import json
    json.dump([sorted(at_start), [name for name in ("advice", "OrderGraph") if name in dir(sys.modules["fastlock"])]], sys.stdout)
    """
    modules, public = answer(run_program(source, env={"FASTLOCK_INSTALL": "1"}))
    assert {"fastlock.watchdog", "fastlock.reporting.text", "fastlock.sources"} <= set(modules)
    assert [name for name in SPARED if name in modules] == []
    assert public == ["advice", "OrderGraph"]


def test_the_kill_switch_imports_nothing() -> None:
    """A disabled process pays for no more than the file that finds it disabled; what it imports itself is disabled all the same."""
    source = """
    import sys
    at_start = [name for name in sys.modules if name.startswith("fastlock")]
    import json, threading, fastlock
    fastlock.install()
    print(json.dumps([at_start, threading.Lock is fastlock.Lock]))
    """
    assert answer(run_program(source, env={"FASTLOCK_INSTALL": "1", "FASTLOCK_DISABLE": "1"})) == [[], False]


def test_a_report_imports_nothing() -> None:
    """A deadlock, a prediction and a long wait are told with what is there: text, JSON lines and all."""
    source = """
    import sys, tempfile, threading
    from support import *
    import fastlock, linecache
    fastlock.configure(level="order", slow_wait=0.02, json=tempfile.mkstemp()[1])
    a, b, c = (fastlock.RLock(name=name) for name in "abc")
    class Importer:
        def find_spec(self, name, *rest):
            imported.append(name)
    imported = []
    both = threading.Barrier(2)
    def embrace(mine, its):
        with mine:
            both.wait()
            with its: pass
    def waits():
        with a: pass
    fastlock.flush = fastlock.watchdog.flush
    sys.meta_path.insert(0, Importer())
    start(embrace, a, b), start(embrace, b, a)
    found("FL001"); start(waits)
    found("FL001", "FL010", "FL020"); fastlock.flush()
    tell(imported)
    """
    assert answer(run_program(source)) == []


def test_what_comes_later_is_what_came_at_once() -> None:
    """The names of the package are the functions and classes, also after the modules behind them were imported."""
    import fastlock.advising
    import fastlock.order

    assert (fastlock.advice, fastlock.OrderGraph) == (fastlock.advising.advice, sys.modules["fastlock.order"].OrderGraph)
    assert set(fastlock.__all__) <= set(dir(fastlock))
    assert not hasattr(fastlock, "nonsense")


def test_the_start_leaves_the_package_as_an_import_does() -> None:
    """The package is not imported by a statement then; nobody can tell."""
    source = """
    import json, sys, fastlock, importlib.util
    found = importlib.util.find_spec("fastlock")
    spec = fastlock.__spec__
    same = [getattr(spec, name) == getattr(found, name) for name in ("name", "origin", "cached", "submodule_search_locations")]
    print(json.dumps([sys.modules["fastlock"] is fastlock, fastlock.__file__ == spec.origin, getattr(spec, "_initializing", False), fastlock.__loader__ is spec.loader, *same]))
    """
    assert answer(run_program(source, env={"FASTLOCK_INSTALL": "1"})) == [True, True, False, True, True, True, True, True]
