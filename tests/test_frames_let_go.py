"""Looking at other threads' frames leaves nothing behind: what their locals held dies with them, not when the collector comes."""

from __future__ import annotations

import pytest

from support import ask

WAITING = """
import gc, weakref
fastlock.install()
fastlock.configure(slow_wait=60)

class Local:
    pass

kept = []
lock = threading.RLock()

def waiter():
    local = Local()
    kept.append(weakref.ref(local))
    with lock:
        pass

lock.acquire()
thread = start(waiter)
blocked("waiter")
gc.disable()
"""

ENDS = """
lock.release()
thread.join()
wait_until(lambda: kept[0]() is None)  # a report may be looking just now; what a circle keeps, it keeps for good
tell(True)
"""

LOOKS = {
    "find_deadlocks": "fastlock.find_deadlocks()",
    "frames": """
from fastlock import chains
def looks():
    with chains.frames_now() as frames:
        assert thread.ident in frames and threading.get_ident() in frames
looks()
""",
    "who is asked over the socket": """
from fastlock import whereabouts
(number,) = [agent.id for agent in fastlock.snapshot().agents if agent.name == "waiter"]
told = whereabouts.agents({"do": "agent", "agent": number})
assert told["agents"][0]["stack"]
""",
    "a look that fails": """
from fastlock import chains
def fails():
    with chains.frames_now() as frames:
        raise KeyError
try:
    fails()
except KeyError:
    pass
""",
    "a report": """
fastlock.configure(slow_wait=0.02)
second = start(waiter)
found("FL020")
lock.release()
second.join()
lock.acquire()
""",
}


@pytest.mark.parametrize("look", LOOKS)
def test_locals_of_who_was_looked_at_die_with_its_call(look: str) -> None:
    """A thread's local is gone when the thread has ended, although its frame was looked at and no garbage was collected since."""
    assert ask(WAITING + LOOKS[look] + ENDS) is True
