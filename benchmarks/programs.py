"""Whole programs: processor time with fastlock installed at level order, over that without, in pairs.

    python benchmarks/programs.py [--program NAME]… [--pairs 40] [--level order] [--pin] [--json]

Each run is a process of its own that does a fixed amount of work; a pair is one of either side, in changing order, as close
together as can be. What is compared is user and system time of the child, from its own start of the work to its end, so that waiting for
a neighbour costs nobody anything; what fastlock adds to a start is a row of its own, in milliseconds. The figure is the median
of the pairs' ratios, beside it the upper end of its one-sided 95 % interval by order statistics, which assumes
nothing about how the noise is distributed. --pin keeps each child on one processor: less noise, and no waking across processors.
"""

from __future__ import annotations

import argparse
import http.client
import http.server
import io
import json
import logging
import logging.handlers
import math
import os
import platform
import queue
import random
import re
import resource
import statistics
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

MOST = 1.02  # DESIGN section 4: upper bound of the ratio
WORDS = [f"{a}{b}{c}" for a in ("lock", "thread", "wait", "queue") for b in ("er", "ing", "less", "s") for c in ("", "-one", "-two")]


# ---- the programs ---------------------------------------------------------------------------------


def pipeline() -> None:
    """Texts through two bounded queues: four threads count words, two merge, and a pool formats the results."""
    texts: queue.Queue[str | None] = queue.Queue(64)
    counts: queue.Queue[Counter[str] | None] = queue.Queue(64)
    total: Counter[str] = Counter()
    merging = threading.Lock()

    def count() -> None:
        while (text := texts.get()) is not None:
            counts.put(Counter(re.findall(r"[a-z]+", text)))

    def merge() -> None:
        while (found := counts.get()) is not None:
            with merging:
                total.update(found)

    counters, mergers = ([threading.Thread(target=each) for _ in range(n)] for each, n in ((count, 4), (merge, 2)))
    for thread in counters + mergers:
        thread.start()
    rng = random.Random(1)
    for _ in range(8000):
        texts.put(" ".join(rng.choices(WORDS, k=200)))
    for full, threads in ((texts, counters), (counts, mergers)):
        for _ in threads:
            full.put(None)
        for thread in threads:
            thread.join()
    with ThreadPoolExecutor(4) as pool:
        lines = list(pool.map(lambda item: f"{item[0]:<12}{item[1]:>9,}", sorted(total.items()) * 500))
    assert len(lines) == 500 * len(total) and sum(total.values()) > 1_600_000


def log() -> None:
    """Eight threads of a service that logs: two handlers, formatted, one of them a memory buffer in front of a stream."""
    logger = logging.getLogger("service")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    out = io.StringIO()
    plain = logging.StreamHandler(out)
    plain.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(threadName)s %(name)s: %(message)s"))
    logger.addHandler(plain)
    logger.addHandler(logging.handlers.MemoryHandler(200, logging.ERROR, logging.StreamHandler(io.StringIO())))

    def serve(number: int) -> None:
        mine = logging.getLogger(f"service.worker{number}")
        for i in range(5000):
            mine.info("request %d took %.1f ms: %s", i, i % 17 * 1.5, WORDS[i % len(WORDS)])
            if i % 100 == 0:
                mine.warning("worker %d is at %d", number, i)

    threads = [threading.Thread(target=serve, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert out.getvalue().count("\n") == 8 * 5050


class Shop(http.server.BaseHTTPRequestHandler):
    """Keeps stock behind one lock and a book of sales behind another."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    stock_lock, sales_lock = threading.Lock(), threading.RLock()
    stock = dict.fromkeys(WORDS, 1_000_000)
    sales: Counter[str] = Counter()

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.stock_lock:
            self.stock[order["item"]] -= order["number"]
            left = self.stock[order["item"]]
            with self.sales_lock:
                self.sales[order["item"]] += order["number"]
        body = json.dumps({"item": order["item"], "left": left}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def web() -> None:
    """A threading HTTP server, and four clients that keep their connections."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=server.serve_forever).start()

    def buy(number: int) -> None:
        client = http.client.HTTPConnection("127.0.0.1", server.server_port)
        for i in range(1200):
            client.request("POST", "/", json.dumps({"item": WORDS[(i * number) % len(WORDS)], "number": 1}))
            assert json.loads(client.getresponse().read())["left"] > 0
        client.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(buy, range(4)))
    server.shutdown()
    server.server_close()
    assert sum(Shop.sales.values()) == 4 * 1200


def archive() -> None:
    """Documents into one zip file by a pool, under a lock of the program's and zipfile's own; then all are read by the pool."""
    store = io.BytesIO()
    writing = threading.Lock()
    rng = random.Random(2)
    documents = [{"id": n, "words": rng.choices(WORDS, k=60), "score": rng.random()} for n in range(5000)]

    def write(document: dict[str, Any]) -> None:
        data = json.dumps(document, indent=1)
        with writing:
            target.writestr(f"{document['id']:05}.json", data, zipfile.ZIP_DEFLATED)

    def read(name: str) -> int:
        with source.open(name) as file:
            return len(json.load(file)["words"])

    with ThreadPoolExecutor(4) as pool:
        with zipfile.ZipFile(store, "w") as target:
            list(pool.map(write, documents))
        with zipfile.ZipFile(store) as source:
            assert sum(pool.map(read, source.namelist())) == 60 * len(documents)


PROGRAMS: dict[str, Callable[[], None]] = {each.__name__: each for each in (pipeline, log, web, archive)}


# ---- measuring ------------------------------------------------------------------------------------


def used_s() -> float:
    """Return the user and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def child(name: str) -> None:
    """Do the work of a program, and print what the start took and what the work did."""
    start = used_s()
    PROGRAMS[name]()
    installed = "fastlock" in sys.modules and threading.Lock is sys.modules["fastlock"].Lock
    print(json.dumps([start, used_s() - start, installed]))


def run(name: str, level: str | None, pin: bool) -> tuple[float, float]:
    """Return the seconds that a child's start and work took."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("FASTLOCK_")}
    if level is not None:
        env.update(FASTLOCK_INSTALL="1", FASTLOCK_LEVEL=level)
    cpus = os.sched_getaffinity(0)
    done = subprocess.run(
        [sys.executable, __file__, "--child", name],
        env=env,
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=(lambda: os.sched_setaffinity(0, {max(cpus)})) if pin else None,
    )
    start, work, installed = json.loads(done.stdout)
    assert installed is (level is not None), "fastlock is not installed for this interpreter, or always"
    return start, work


def upper_bound(values: list[float]) -> float:
    """Return the upper end of the one-sided 95 % interval of the median, by order statistics."""
    n = len(values)
    below = 0.0
    for k in range(n):
        below += math.comb(n, k) / 2**n
        if below >= 0.95:
            return sorted(values)[k]
    return max(values)


def measure(name: str, pairs: int, level: str, pin: bool) -> dict[str, Any]:
    """Run pairs of a program."""
    ratios, plain, starts = [], [], []
    for number in range(pairs):
        sides: tuple[str | None, ...] = (level, None) if number % 2 else (None, level)
        times = {side: run(name, side, pin) for side in sides}
        ratios.append(times[level][1] / max(times[None][1], 1e-9))
        plain.append(times[None][1])
        starts.append(times[level][0] - times[None][0])
    return {
        "program": name,
        "pairs": pairs,
        "plain_s": statistics.median(plain),
        "ratio": statistics.median(ratios),
        "upper": upper_bound(ratios),
        "start_ms": 1000 * statistics.median(starts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", action="append", choices=PROGRAMS)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--level", default="order")
    parser.add_argument("--pin", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", choices=PROGRAMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    rows = [measure(name, options.pairs, options.level, options.pin) for name in options.program or PROGRAMS]
    if options.json:
        print(json.dumps({"python": platform.python_version(), "level": options.level, "rows": rows}))
        return
    print(f"CPython {platform.python_version()}, level {options.level}, {options.pairs} pairs")
    print(f"{'program':<10} {'plain, s':>8} {'ratio':>7} {'up to':>7}  {'start, ms':>9}")
    for row in rows:
        mark = "" if row["upper"] <= MOST else "  over"
        print(f"{row['program']:<10} {row['plain_s']:>8.2f} {row['ratio']:>7.3f} {row['upper']:>7.3f}  {row['start_ms']:>9.1f}{mark}")


if __name__ == "__main__":
    main()
