"""The programs whose processor time programs.py compares: what people run all day, each a fixed amount of work."""

from __future__ import annotations

import asyncio
import http.client
import http.server
import importlib
import importlib.util
import io
import json
import logging
import logging.handlers
import queue
import random
import re
import sqlite3
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

WORDS = [f"{a}{b}{c}" for a in ("lock", "thread", "wait", "queue") for b in ("er", "ing", "less", "s") for c in ("", "-one", "-two")]


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


def database() -> None:
    """Eight threads in transactions through a pool of SQLAlchemy's with four connections, of which each has a database in memory."""
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import QueuePool

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        connection.execute("create table sales (item text, number integer)")
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=4, max_overflow=0, pool_timeout=60)
    sell = text("insert into sales values (:item, :number)")
    count = text("select coalesce(sum(number), 0) from sales where item = :item")

    def serve(number: int) -> None:
        for i in range(400):
            item = WORDS[(i + number) % len(WORDS)]
            with engine.begin() as connection:
                before = connection.execute(count, {"item": item}).scalar_one()
                connection.execute(sell, {"item": item, "number": 2})
                assert connection.execute(count, {"item": item}).scalar_one() == before + 2

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(serve, range(8)))
    connections = [engine.connect() for _ in range(4)]
    assert sum(each.execute(text("select sum(number) from sales")).scalar_one() or 0 for each in connections) == 2 * 8 * 400
    for each in connections:
        each.close()
    engine.dispose()


def wsgi() -> None:
    """A shop behind waitress with four threads, and four clients that keep their connections."""
    from waitress.server import create_server

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # that somebody had to wait for a thread is no news
    lock = threading.Lock()
    sales: Counter[str] = Counter()

    def shop(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        order = json.loads(environ["wsgi.input"].read())
        with lock:
            sales[order["item"]] += order["number"]
            sold = sales[order["item"]]
        body = json.dumps({"item": order["item"], "sold": sold}).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    server = create_server(shop, host="127.0.0.1", port=0, threads=4)
    serving = threading.Thread(target=server.run)
    serving.start()

    def buy(number: int) -> None:
        client = http.client.HTTPConnection("127.0.0.1", server.effective_port)
        for i in range(1000):
            client.request("POST", "/", json.dumps({"item": WORDS[(i * number) % len(WORDS)], "number": 1}))
            assert json.loads(client.getresponse().read())["sold"] > 0
        client.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(buy, range(4)))
    server.trigger.pull_trigger(server.close)  # in the server's own thread, which ends with its last connection
    serving.join()
    server.task_dispatcher.shutdown()
    assert sum(sales.values()) == 4 * 1000


def tasks() -> None:
    """Texts through two bounded queues of asyncio's: eight tasks count words, two merge under a lock, and a semaphore limits how many count at a time."""
    asyncio.run(count_in_tasks())


async def count_in_tasks() -> None:
    texts: asyncio.Queue[str | None] = asyncio.Queue(16)
    counts: asyncio.Queue[Counter[str] | None] = asyncio.Queue(16)
    merging, limit, total = asyncio.Lock(), asyncio.Semaphore(4), Counter[str]()

    async def count() -> None:
        while (words := await texts.get()) is not None:
            async with limit:
                await counts.put(Counter(re.findall(r"[a-z]+", words)))

    async def merge() -> None:
        while (found := await counts.get()) is not None:
            async with merging:
                await asyncio.sleep(0)
                total.update(found)

    counters, mergers = ([asyncio.create_task(each()) for _ in range(n)] for each, n in ((count, 8), (merge, 2)))
    rng = random.Random(3)
    for _ in range(12_000):
        await texts.put(" ".join(rng.choices(WORDS, k=60)))
    for full, them in ((texts, counters), (counts, mergers)):
        for _ in them:
            await full.put(None)
        await asyncio.gather(*them)
    assert sum(total.values()) > 12_000 * 60


WORKLOADS: dict[str, Callable[[], None]] = {each.__name__: each for each in (pipeline, log, web, archive, database, wsgi, tasks)}
NEEDED = {"database": "sqlalchemy.dialects.sqlite", "wsgi": "waitress.server"}  # the extra `bench` has them


def missing(name: str) -> str | None:
    """Return the package that a program needs and that is not installed, else None."""
    package = NEEDED.get(name, "").partition(".")[0]
    return package if package and importlib.util.find_spec(package) is None else None


def prepare(name: str) -> None:
    """Import what a program uses of others': that is its start, and not its work."""
    if name in NEEDED:
        importlib.import_module(NEEDED[name])
