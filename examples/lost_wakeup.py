"""Lost wakeup: a condition is notified before anybody waits for it, and the one who comes later waits without asking for the state.

It works as long as the setup is the slower one of the two.

    FASTLOCK_SLOW_WAIT=1 fastlock run --on-deadlock exit examples/lost_wakeup.py    says who has notified it and is gone, ends with status 3
    fastlock run examples/lost_wakeup.py --fixed                                    asks for the state first, ends with 0
"""

from __future__ import annotations

import sys
import threading

ready = threading.Condition()
tables: list[str] = []


def set_up() -> None:
    """Load the tables and say so."""
    with ready:
        tables.append("prices")
        ready.notify_all()


def main() -> None:
    """Wait until the tables are there."""
    setup = threading.Thread(target=set_up, name="setup")
    setup.start()
    setup.join()  # stands for a setup that happens to be fast
    with ready:
        if "--fixed" in sys.argv:
            ready.wait_for(lambda: tables)
        else:
            ready.wait()
    print(f"{tables[0]} are there")


if __name__ == "__main__":
    main()
