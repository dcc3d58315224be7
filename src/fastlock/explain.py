"""What each code means, why it happens and how to fix it: the text of ``fastlock explain CODE``."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from fastlock.findings import CODES

_COLUMNS = 88


@dataclass(frozen=True)
class Explanation:
    """The parts of one code's text; ``example`` and ``fix`` are Python source."""

    meaning: str
    why: str
    example: str
    fix: str
    tier: str
    related: tuple[str, ...]


def explain(code: str, columns: int = _COLUMNS) -> str:
    """Return the text for a code, in either case of letters, without a final newline, its prose so wide; KeyError for any other code."""
    code = code.strip().upper()
    about = EXPLANATIONS[code]
    parts = [
        f"{code} {CODES[code]}",
        _prose(about.meaning, "", columns),
        f"Why it happens\n{_prose(about.why, '  ', columns)}",
        f"It looks like this\n{_source(about.example)}",
        f"The fix\n{_source(about.fix)}",
        f"How sure it is\n{_prose(about.tier, '  ', columns)}",
        "Related\n" + "\n".join(f"  {other} {CODES[other]}" for other in about.related),
    ]
    return "\n\n".join(parts)


def _prose(text: str, indent: str, columns: int) -> str:
    flat = " ".join(text.split())
    return textwrap.fill(flat, columns, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _source(code: str) -> str:
    return textwrap.indent(textwrap.dedent(code).strip("\n"), "    ")


EXPLANATIONS: dict[str, Explanation] = {
    "FL001": Explanation(
        meaning=(
            "Threads or tasks wait for each other in a circle: each holds a lock that the next one wants, so "
            "none can go on."
        ),
        why=(
            "Two pieces of code take the same locks in different orders. It needs unlucky timing, so it passes "
            "every test and happens under load. A semaphore, the write side of an RWLock or a join can be a "
            "link of the circle as well."
        ),
        example="""
            def refresh():
                with cache_lock:
                    with db_lock:              # cache, then db
                        cache.update(db.read())

            def export():
                with db_lock:
                    with cache_lock:           # db, then cache: the circle
                        db.write(cache)
        """,
        fix="""
            def export():
                with cache_lock:               # one order everywhere
                    with db_lock:
                        db.write(cache)

            # or, where the order cannot be known beforehand:
            with fastlock.acquire_all(db_lock, cache_lock):
                db.write(cache)
        """,
        tier=(
            "proven: each lock certainly belongs to the agent that is said to hold it, and the circle was still "
            "there when it was looked at again. will-clear: a timeout in the circle will end it, late. "
            "possible: a plain Lock is in it that any thread may release, and nothing yet shows that only its "
            "owner does."
        ),
        related=("FL010", "FL002", "FL012"),
    ),
    "FL002": Explanation(
        meaning="An agent waits for a lock that it holds itself and that cannot be taken twice.",
        why=(
            "A function takes the lock and calls something that ends in the same lock: a method of the same "
            "object, a callback of a user, a signal handler that interrupts the holder, or a finaliser that the "
            "garbage collector runs in the middle of it."
        ),
        example="""
            class Cache:
                def put(self, key, value):
                    with self._lock:
                        self._data[key] = value
                        self.on_change(key)    # a callback, which calls get()

                def get(self, key):
                    with self._lock:           # the same thread, the same lock
                        return self._data[key]
        """,
        fix="""
            class Cache:
                def put(self, key, value):
                    with self._lock:
                        self._data[key] = value
                    self.on_change(key)        # called without the lock

            # or, where re-entry is meant: self._lock = threading.RLock()
            # in a signal handler or finaliser: only queue.SimpleQueue.put(), never a lock
        """,
        tier=(
            "proven: the lock was taken by `with`, or only its owners have ever released it. possible: a plain "
            "Lock that another thread may be meant to release, as a signal."
        ),
        related=("FL001", "FL012"),
    ),
    "FL003": Explanation(
        meaning="Somebody waits for a lock whose owner has ended without releasing it.",
        why=(
            "acquire() and release() are separate statements, and an exception, a return or the end of the "
            "thread came in between."
        ),
        example="""
            def worker():
                queue_lock.acquire()
                handle(queue.pop())            # raises: release() is never reached
                queue_lock.release()
        """,
        fix="""
            def worker():
                with queue_lock:               # released however the block is left
                    item = queue.pop()
                handle(item)
        """,
        tier=(
            "proven: the owner has ended and only owners release this lock. possible: a plain Lock that another "
            "thread may still release; if that is meant, create it with signal=True."
        ),
        related=("FL004", "FL020"),
    ),
    "FL004": Explanation(
        meaning=(
            "Somebody in the child of a fork waits for a lock that was held at the fork by a thread which the "
            "child does not have, or for work in a pool whose threads it does not have."
        ),
        why=(
            "fork() copies memory with all its locks as they are, but only the thread that calls it. A lock "
            "that any other thread held at that moment stays taken in the child for ever."
        ),
        example="""
            threading.Thread(target=log_forever).start()    # takes log_lock now and then
            if os.fork() == 0:
                with log_lock:                              # held by a thread that is not here
                    log("child")
        """,
        fix="""
            multiprocessing.set_start_method("spawn")       # no inherited locks at all

            # or nobody else holds it while the process forks:
            os.register_at_fork(
                before=log_lock.acquire,
                after_in_parent=log_lock.release,
                after_in_child=log_lock.release,
            )
        """,
        tier=(
            "proven: the owner is a thread of the parent, and only owners release this lock. possible: a plain "
            "Lock that the child may still release itself."
        ),
        related=("FL003",),
    ),
    "FL005": Explanation(
        meaning="A task holds a synchronous lock while it is suspended in an await.",
        why=(
            "The lock belongs to the thread for as long as the task sleeps. Another task of the same loop that "
            "wants it blocks the thread, so that the holder can never be resumed."
        ),
        example="""
            async def refresh():
                with rates_lock:               # a threading.Lock
                    rates.update(await fetch())
        """,
        fix="""
            rates_lock = fastlock.aio.Lock()

            async def refresh():
                async with rates_lock:         # waiting for it suspends the task, not the loop
                    rates.update(await fetch())

            # or do not hold it over the await:
            async def refresh_late():
                new = await fetch()
                with rates_lock:
                    rates.update(new)
        """,
        tier="proven: the task was seen to be suspended between its acquire and its release.",
        related=("FL006", "FL001"),
    ),
    "FL006": Explanation(
        meaning=(
            "The thread of an event loop waited for a synchronous lock for longer than loop_block (0.1 s if not "
            "configured)."
        ),
        why=(
            "A task calls code that takes a lock which some other thread holds for long. Meanwhile no task of "
            "this loop runs."
        ),
        example="""
            async def show(request):
                with report_lock:              # a worker thread holds it for seconds
                    return render(report)
        """,
        fix="""
            def read_report():
                with report_lock:
                    return render(report)

            async def show(request):
                return await asyncio.to_thread(read_report)
        """,
        tier="measured: the loop's thread waited that long. It says nothing about a deadlock.",
        related=("FL005", "FL020"),
    ),
    "FL010": Explanation(
        meaning=(
            "Locks have been taken in two orders that together make a circle: nobody is stuck, but this can "
            "deadlock."
        ),
        why=(
            "The same as FL001, seen before it happens: at level \"order\" fastlock notes which lock is taken under "
            "which. One run in which nobody blocks is enough, and the two orders may be hours apart."
        ),
        example="""
            def transfer():
                with accounts_lock, audit_lock:        # accounts, then audit
                    move()

            def audit():
                with audit_lock:
                    with accounts_lock:                # audit, then accounts
                        check()
        """,
        fix="""
            def audit():
                with accounts_lock, audit_lock:        # one order everywhere: the more frequent one
                    check()

            # where the order cannot be known, as between two accounts:
            with fastlock.acquire_all(one.lock, other.lock):
                move()
        """,
        tier=(
            "high: different agents used both orders, no lock that both held keeps them apart, no start or join "
            "of a thread orders them, and what one holds keeps the other out (a reader may not). possible: one of "
            "these is not certain, as with a timeout or with two locks of one class; the report says which. Circles "
            "that cannot happen are only counted: fastlock.order_graph().filtered."
        ),
        related=("FL001", "FL011"),
    ),
    "FL011": Explanation(
        meaning="A lock was taken against the order that the program itself declares with rank= or key=.",
        why=(
            "Locks with a rank are to be taken in rising rank, locks of one class in rising key. Here one was "
            "taken while a higher one was held already."
        ),
        example="""
            config_lock = fastlock.Lock(rank=10)
            table_lock = fastlock.Lock(rank=20)

            with table_lock:
                with config_lock:              # 20, then 10
                    reload()
        """,
        fix="""
            with config_lock:                  # 10, then 20
                with table_lock:
                    reload()

            # locks of one class, made with key=: sorted, or by acquire_all
            first, second = sorted((one, other), key=lambda account: account.number)
            with first.lock, second.lock:
                move()
        """,
        tier="proven: the ranks or keys are the program's own, and the order is what happened.",
        related=("FL010", "FL001"),
    ),
    "FL012": Explanation(
        meaning=(
            "An agent that reads under an RWLock wants to write under it, or wants to read again while a writer "
            "waits."
        ),
        why=(
            "A writer waits until all readers are gone. A reader that becomes a writer waits for itself. And a "
            "second read stands behind a waiting writer, which in turn waits for the first read."
        ),
        example="""
            with rw.read():
                if key not in table:
                    with rw.write():           # waits for all readers: this one too
                        table[key] = make(key)
        """,
        fix="""
            with rw.upgradable():              # one at a time, beside other readers
                if key not in table:
                    with rw.write():           # waits for the others, who cannot do the same
                        table[key] = make(key)
            # or end the read first, and look again under rw.write()
        """,
        tier=(
            "proven: an RWLock knows its readers. possible: something else may still end the wait; the reasons "
            "say what."
        ),
        related=("FL002", "FL001"),
    ),
    "FL020": Explanation(
        meaning=(
            "Somebody has waited longer than slow_wait (10 s if not configured) for something that somebody " "holds."
        ),
        why=(
            "The holder does slow work under the lock (network, disk, a large loop), or is stuck for a reason "
            "that is no lock. The report shows where the holder took it and, where it can be read, what it does "
            "now."
        ),
        example="""
            with session_lock:
                reply = requests.get(url)      # seconds; everybody else waits
                sessions[user] = reply.json()
        """,
        fix="""
            reply = requests.get(url, timeout=5)
            with session_lock:
                sessions[user] = reply.json()  # only the shared state under the lock
        """,
        tier="measured: the wait took that long. It says nothing about a deadlock.",
        related=("FL001", "FL003", "FL031"),
    ),
    "FL030": Explanation(
        meaning="Every worker of a pool waits for work that stands in the queue of the same pool.",
        why=(
            "A job submits another job to its own pool and waits for the result. It works while a worker is "
            "free, and stops for ever as soon as all workers wait in this way."
        ),
        example="""
            pool = ThreadPoolExecutor(2)

            def page(url):
                parts = [pool.submit(part, url, n) for n in range(3)]
                return [each.result() for each in parts]       # in a worker of the pool

            answers = [pool.submit(page, url) for url in urls]
        """,
        fix="""
            pages = ThreadPoolExecutor(2)
            parts = ThreadPoolExecutor(4)      # work that is waited for has a pool of its own

            def page(url):
                futures = [parts.submit(part, url, n) for n in range(3)]
                return [each.result() for each in futures]
        """,
        tier="proven: all workers wait, and what they wait for is queued behind them. will-clear: one wait has a timeout.",
        related=("FL031", "FL001"),
    ),
    "FL031": Explanation(
        meaning="Some agents wait, and nothing that could wake them is able to run.",
        why=(
            "The one that was to set the event, fill the queue, make room in it or come to the barrier has ended, or "
            "waits itself: a worker that an exception has ended, a notification that came before the wait, an end "
            "marker that is never sent, a consumer that puts into its own full queue. It need not be a lock in the "
            "whole ring."
        ),
        example="""
            jobs = queue.Queue(100)

            def consume():
                while True:
                    handle(jobs.get())         # raises once, and the thread ends

            threading.Thread(target=consume).start()
            for job in source:
                jobs.put(job)                  # until it is full, and then for ever
        """,
        fix="""
            def consume():
                while True:
                    job = jobs.get()
                    try:
                        handle(job)
                    except Exception:
                        log.exception("job failed")

            # or notice it: jobs.put(job, timeout=30) raises queue.Full
        """,
        tier=(
            "proven: nothing in the whole process can run. Every thread waits, none with a timeout, or runs an event "
            "loop without anything to run: no callback, timer, socket, pipe or process; and there is no thread of C "
            "code and no signal handler. possible: somebody runs, but all who have woken these waiters so "
            "far have ended or are stuck, for ten times slow_wait; somebody else might still do it. Idle workers are "
            "not reported. No policy acts on what is only possible."
        ),
        related=("FL001", "FL003", "FL030"),
    ),
}
