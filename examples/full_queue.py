"""Full queue: the only thread that takes from a bounded queue also puts into it, and waits for room that it alone could make.

A crawler finds pages on pages. As long as most pages have few links it works; the first page with many of them stops it.

    FASTLOCK_SLOW_WAIT=1 fastlock run --on-deadlock exit examples/full_queue.py    names the queue and the line that puts, ends with status 3
    fastlock run examples/full_queue.py --fixed                                    what is found has no limit, ends with 0
"""

from __future__ import annotations

import queue
import sys
import threading

LINKS = {"/": ["/a", "/b"], "/a": [], "/b": ["/news"], "/news": ["/1", "/2", "/3", "/4", "/5", "/6"]}

pages: queue.Queue[str] = queue.Queue(0 if "--fixed" in sys.argv else 4)
seen: list[str] = []


def crawl() -> None:
    """Take a page, and put in what it links to, until there is nothing left."""
    while True:
        page = pages.get()
        seen.append(page)
        for link in LINKS.get(page, ()):
            pages.put(link)
        pages.task_done()


def main() -> None:
    """Crawl from the first page on."""
    threading.Thread(target=crawl, name="crawler", daemon=True).start()
    pages.put("/")
    pages.join()
    print(f"{len(seen)} pages")


if __name__ == "__main__":
    main()
