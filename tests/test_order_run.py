"""``fastlock run --level order``: the program ends as it would, then comes the summary, and the graph is saved."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fastlock import suppression
from fastlock.advising import Advice
from fastlock.kept import KeptFindings
from fastlock.order import OrderCycle, OrderEdge, OrderGraph
from fastlock.summary import summary
from support import run_program

Completed = subprocess.CompletedProcess
RUN = ("-W", "ignore", "-m", "fastlock", "run")
ORDER = (*RUN, "--level", "order")
GRAPH = "import order_events\norder_events.give_graph(order_events.dump())\n"
HEAD = "fastlock: the order of locks in program.py, pid "


def run(source: str, *options: object, through: tuple[str, ...] = ORDER, **more: Any) -> Completed[str]:
    """Run a program whose order graph is a hand-made one."""
    return run_program(GRAPH + source, through=(*through, *map(str, options)), **more)


def test_the_summary_in_full() -> None:
    """What was learned, judged, filtered, suppressed and advised, each on a line of its own."""
    more = "filtered={'agents': 2, 'gate': 1, 'happens-before': 0, 'shared': 0}"
    done = run(
        f"""
import fastlock, os
from order_events import arrow, dump, inversion, node, rank
from fastlock import watchdog
nodes = {{1: node("stock", 200, 9, 4), 2: node("audit", 300, 0, 2), 3: node("log", 40)}}
edges = [arrow(1, 2, 150), arrow(2, 1, 3), arrow(2, 3, 40)]
circles = [{{"high": True, "reasons": [], "edges": [0, 1]}}]
order_events.give_graph(dump(nodes, edges, circles=circles, {more}))
fastlock.configure(suppress=["stock_lock"])
watchdog.handle(inversion())
watchdog.flush(90)
fastlock.configure(suppress=[])
watchdog.handle(rank())
watchdog.flush(90)
print(os.getpid())
"""
    )
    pid = done.stdout.strip()
    assert done.returncode == 0
    text = done.stderr[done.stderr.index(HEAD) :]
    report = done.stderr.split("report ")[1][:6]
    assert text == (
        f"{HEAD}{pid}\n"
        "  Classes       3, with 3 orders between them, taken 193 times\n"
        "  Circles       1 high\n"
        "                high: stock → audit → stock\n"
        "  Filtered      3 circles that cannot happen: 2 done by one agent alone, 1 under a common lock\n"
        f"  Reported      FL011 proven, report {report}\n"
        "  Suppressed    1, see fastlock.suppressed()\n"
        "  Advice        stock: 4 threads contend for it, with other locks held: let one owner thread have what it\n"
        "                guards, and the others send it requests through a queue (consumers 4, acquired 200, contended 9,\n"
        "                nested with 1)\n"
        "                log was always taken under audit, which excludes everybody already (acquired log 40, under audit\n"
        "                40, acquired audit 300)\n"
    )


ENDINGS = {
    "end": ("pass", 0),
    "exit": ("raise SystemExit(7)", 7),
    "error": ("raise ValueError('the program failed')", 1),
    "interrupt": ("raise KeyboardInterrupt", -2),
    "atexit": ("import atexit, sys\natexit.register(lambda: print('the program failed', file=sys.stderr))", 0),
    "thread": ("import threading\nthreading.Thread(target=int, args=('the program failed',)).start()", 0),
}


@pytest.mark.parametrize(("ending", "status"), ENDINGS.values(), ids=ENDINGS)
def test_the_summary_is_the_last_word(ending: str, status: int) -> None:
    """However the program ends, its status and output are its own, and the summary comes once, at the very end."""
    done = run(f"print('output', flush=True)\n{ending}\n")
    assert (done.returncode, done.stdout) == (status, "output\n")
    before, head, after = done.stderr.partition(HEAD)
    assert head and HEAD not in after and "the program failed" not in after
    assert ("the program failed" in before) == ("failed" in ending)
    assert after.splitlines()[1:] == [
        "  Classes       3, with 3 orders between them, taken 18,214 times",
        "  Circles       1 high",
        "                high: stock_lock@shop.py → audit_lock@audit.py → stock_lock@shop.py",
    ]


def test_the_summary_is_there_when_a_policy_ends_the_run(tmp_path: Path) -> None:
    """A deadlock that ends the run with status 3 does not take the summary and the graph with it."""
    source = "import fastlock\nlock = fastlock.Lock()\nwith lock:\n    with lock: pass\n"
    done = run(source, "--on-deadlock", "exit", "--order-graph", tmp_path / "graph.txt")
    assert done.returncode == 3
    assert done.stderr.index("explain FL002") < done.stderr.index(HEAD)
    assert done.stderr.count(HEAD) == 1
    assert (tmp_path / "graph.txt").read_text().count(" -> ") == 3


QUIET = {
    "another level": (RUN, {}),
    "level detect": ((*RUN, "--level", "detect"), {}),
    "disabled": (ORDER, {"FASTLOCK_DISABLE": "1"}),
    "no run": ((), {"FASTLOCK_INSTALL": "1", "FASTLOCK_LEVEL": "order"}),
}


@pytest.mark.parametrize(("through", "env"), QUIET.values(), ids=QUIET)
def test_no_summary_unasked(through: tuple[str, ...], env: dict[str, str]) -> None:
    """Without level order, and where nobody called fastlock run, nothing is added to what the program writes."""
    done = run("", through=through, env=env)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_level_may_come_from_the_environment() -> None:
    """FASTLOCK_LEVEL=order is as good as the option."""
    assert run("", through=RUN, env={"FASTLOCK_LEVEL": "order"}).stderr.startswith(HEAD)


def test_children_do_not_tell(tmp_path: Path) -> None:
    """A forked, a spawned and a started process have inherited the variables, and leave summary and file to their parent."""
    file = tmp_path / "graph.txt"
    done = run(
        """
import multiprocessing, os, subprocess, sys
if os.fork() == 0:
    sys.exit(0)
os.wait()
subprocess.run([sys.executable, "-c", "import fastlock; print(fastlock.level())"], check=True)
assert open(os.environ["FASTLOCK_ORDER_GRAPH"]).read() == ""
print(os.getpid())
""",
        "--order-graph",
        file,
    )
    level, pid = done.stdout.split()
    assert (done.returncode, level) == (0, "order")
    assert done.stderr.count("fastlock: ") == 1 and done.stderr.startswith(f"{HEAD}{pid}\n")


def test_an_inner_run_has_its_own(tmp_path: Path) -> None:
    """A program that runs another one by fastlock run keeps its own file."""
    inner = tmp_path / "inner.py"
    inner.write_text("import order_events\norder_events.give_graph(order_events.dump({}, []))\n")
    done = run(
        f"import subprocess, sys\nsubprocess.run([sys.executable, *{ORDER!r}, {str(inner)!r}], check=True)",
        "--order-graph",
        tmp_path / "graph.txt",
    )
    assert [line for line in done.stderr.splitlines() if "Classes" in line] == [
        "  Classes       no lock was taken under another one",
        "  Classes       3, with 3 orders between them, taken 18,214 times",
    ]
    assert (tmp_path / "graph.txt").read_text().count(" -> ") == 3


# ---- the file


def test_the_graph_is_saved_where_it_was_named(tmp_path: Path) -> None:
    """The path is taken when the run starts, and the level is order even if nobody says so."""
    (tmp_path / "graph.txt").write_text("# fastlock order graph 1\nold -> older\t1\t\t\n")
    done = run("import os\nos.chdir('/')\nimport fastlock\nprint(fastlock.level())", "--order-graph", "graph.txt", through=RUN, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "order\n")
    assert done.stderr.endswith(f"  Order graph   saved in {tmp_path}/graph.txt\n")
    graph = OrderGraph.load(tmp_path / "graph.txt")
    assert [edge.count for edge in graph.edges()] == [3, 7, 18_204]


def test_a_graph_that_cannot_be_saved_is_one_line(tmp_path: Path) -> None:
    """What changes after the check at the start does not change the program's status."""
    (tmp_path / "there").mkdir()
    path = tmp_path / "there" / "graph.txt"
    done = run(f"import shutil\nshutil.rmtree({str(path.parent)!r})", "--order-graph", path)
    assert done.returncode == 0
    assert done.stderr.endswith(f"fastlock: cannot save the order graph in {path}: No such file or directory\n")


REFUSED = {
    "no directory": (["--order-graph", "no/x"], "--order-graph='no/x': cannot be written: No such file or directory"),
    "empty": (["--order-graph="], "--order-graph='': cannot be written"),
    "directory": (["--order-graph", "/"], "--order-graph='/': cannot be written: Is a directory"),
    "another level": (["--order-graph", "x", "--level", "off"], "--order-graph='x': needs --level order, and not off"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_at_the_start(options: list[str], message: str, tmp_path: Path) -> None:
    """A file that cannot be written is known before the program runs, not after it."""
    done = run("print('ran')", *options, through=RUN, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"fastlock run: {message}") and done.stderr.count("\n") == 1


def test_a_failure_of_ours_is_not_the_programs() -> None:
    """A summary that cannot be made says so and leaves the status alone."""
    done = run("import sys\nsys.modules['fastlock._order'].dump = None\nraise SystemExit(5)")
    assert done.returncode == 5
    assert done.stderr.startswith("fastlock: the summary failed\nTraceback ")


# ---- what does not fit


def test_many_of_a_kind_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five circles and pieces of advice are shown, and where the others are; a full table says that it is."""
    monkeypatch.setattr(suppression, "_kept", KeptFindings())
    edge = OrderEdge("a", "a", 1)
    cycles = tuple(OrderCycle(("a",), "possible", (edge,)) for _ in range(7))
    graph = OrderGraph(("a",), {"gate": 0, "budget": 1}, True, 0, (edge,), cycles)
    lines = summary(graph, [Advice("merge", ("a", "b"), "text", {"acquired a": 1_000}) for _ in range(6)], [])
    assert lines[0].endswith(f", pid {os.getpid()}")
    assert lines[1:] == [
        "  Classes       1, with 1 order between them, taken once",
        "  Circles       7 possible",
        *["                possible: a → a"] * 5,
        "                and 2 more, see fastlock.order_graph().cycles()",
        "  Filtered      1 circle whose search was cut short",
        "  Full          the tables are full: what was new after that is not in here",
        "  Advice        text (acquired a 1,000)",
        *["                text (acquired a 1,000)"] * 4,
        "                and 1 more, see fastlock.advice()",
    ]


def test_a_file_that_is_no_order_graph_is_left_as_it_is(tmp_path: Path) -> None:
    """A slip of the fingers overwrites nobody's program: the run is refused before it starts."""
    (tmp_path / "mine.py").write_text("print('mine')\n")
    done = run("print('ran')", "--order-graph", "mine.py", through=RUN, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "exists and is no order graph" in done.stderr
    assert (tmp_path / "mine.py").read_text() == "print('mine')\n"


def test_policy_and_suppressions_are_options_too() -> None:
    """What is given on the command line is in force in the program, and a bad value is refused before it."""
    body = "import fastlock\nprint(fastlock.config.current().on_inversion, fastlock.config.current().suppress, fastlock.level())"
    done = run(body, "--on-inversion", "raise", "--suppress=legacy.*,95ce82", through=RUN)
    assert (done.returncode, done.stdout) == (0, "raise ('legacy.*', '95ce82') order\n")
    done = run(body, "--on-inversion", "raise", "--level", "detect", through=RUN)
    assert (done.returncode, done.stderr) == (2, "fastlock run: --on-inversion='raise': needs --level order, and not detect\n")
    done = run(body, "--on-inversion", "exit", through=RUN)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--on-inversion='exit': must be 'report' or 'raise'" in done.stderr


def test_a_pipe_for_the_order_graph_holds_nothing_up(tmp_path: Path) -> None:
    """Looking whether the file holds a graph does not wait for a FIFO's writer."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        done = run("print('ran')", "--order-graph", "pipe", through=RUN, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
    finally:
        os.close(reader)
