"""The forest of who waits, in the end, for whom: against a naive oracle, and by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from fastlock.forest import Forest, Need, grow

AGENTS = range(1, 9)
Wants = dict[int, list[str]]
Needs = dict[str, Need]


@st.composite
def tables(draw: st.DrawFn) -> tuple[Wants, Needs, set[int]]:
    """Some agents, the needs that they share, and those who stand still for another reason."""
    needs = {
        f"n{number}": Need(tuple(draw(st.lists(st.sampled_from(AGENTS), max_size=4, unique=True))), draw(st.booleans()))
        for number in range(6)
    }
    wants = {
        agent: draw(st.lists(st.sampled_from(sorted(needs)), min_size=1, max_size=2, unique=True))
        for agent in draw(st.permutations(AGENTS))[: draw(st.integers(0, len(AGENTS)))]
    }
    return wants, needs, draw(st.sets(st.sampled_from(AGENTS), max_size=2))


def stuck_by_definition(wants: Wants, needs: Needs, never: set[int]) -> set[int]:
    """Everybody, less those who have what they need of those who run, until nothing changes."""
    stuck = set(AGENTS)
    while True:
        freed = {agent for agent in stuck - never if all(met(needs[key], stuck) for key in wants.get(agent, ()))}
        if not freed:
            return stuck
        stuck -= freed


def met(need: Need, stuck: set[int]) -> bool:
    running = [holder not in stuck for holder in need.holders]
    return not running or (any(running) if need.any_one else all(running))


@given(tables())
@settings(max_examples=300, deadline=None)
def test_it_agrees_with_the_definition(table: tuple[Wants, Needs, set[int]]) -> None:
    """Who is stuck, that each stands behind one whom it needs, runs or is stuck as that one is, and is in one tree once."""
    wants, needs, never = table
    forest = grow(wants, needs, never)
    concerned = set(wants) | {holder for keys in wants.values() for key in keys for holder in needs[key].holders}
    stuck = stuck_by_definition(wants, needs, never) & concerned
    waiting = {agent for agent, keys in wants.items() if any(needs[key].holders for key in keys)}
    assert forest.stuck | (never & concerned) == stuck
    for agent in waiting - never:
        through = forest.through[agent]
        assert through in wants[agent] and forest.parent[agent] in needs[str(through)].holders
        assert (forest.parent[agent] in stuck) == (agent in stuck)
    check_trees(forest, waiting)


def check_trees(forest: Forest, waiting: set[int]) -> None:
    """Circles are circles, and every waiter is in one or behind one root, after the one that it is behind."""
    for circle in forest.circles:
        assert [forest.parent[agent] for agent in circle] == [*circle[1:], circle[0]]
    met_in: list[int] = []
    for root in forest.roots():
        depths = dict.fromkeys(root, 0)
        for agent, depth in forest.behind(root):
            assert depths[forest.parent[agent]] == depth - 1
            assert forest.path(agent)[depth] in root
            depths[agent] = depth
        met_in += depths
    assert len(met_in) == len(set(met_in))
    assert set(met_in) >= {agent for agent in waiting if agent in forest.parent}


@given(tables())
@settings(max_examples=200, deadline=None)
def test_a_running_waiter_is_behind_who_lets_it_go_last(table: tuple[Wants, Needs, set[int]]) -> None:
    """From everybody who can run the way up ends at one who needs nobody, however the holders of permits wait for each other."""
    wants, needs, never = table
    forest = grow(wants, needs, never)
    for agent in set(forest.parent) - forest.stuck:
        path = forest.path(agent)
        assert len(path) == len(set(path)) and path[-1] not in forest.parent


def alone(*agents: int) -> Need:
    return Need(agents)


def test_siblings_keep_their_order() -> None:
    """The order of `wants` is the order of those behind one."""
    forest = grow({3: ["a"], 2: ["a"], 5: ["a"]}, {"a": alone(1)})
    assert (forest.behind([1]), list(forest.roots())) == ([(3, 1), (2, 1), (5, 1)], [(1,)])


def test_a_permit_comes_from_the_holder_that_runs() -> None:
    """Of two holders one is stuck: whoever waits for any permit waits for the other."""
    wants: Mapping[int, Sequence[str]] = {1: ["own"], 3: ["slots"]}
    forest = grow(wants, {"own": alone(1), "slots": Need((1, 2), any_one=True)})
    assert (forest.parent[3], forest.circles, forest.stuck) == (2, ((1,),), {1})


def test_a_writer_waits_for_the_reader_that_is_stuck() -> None:
    """All readers have to end, so the one that never will is the one it waits for."""
    forest = grow({1: ["own"], 3: ["rw"]}, {"own": alone(1), "rw": alone(2, 1)})
    assert (forest.parent[3], 3 in forest.stuck) == (1, True)


def test_depth_and_breadth_have_no_limit() -> None:
    """A chain of 20,000 and a crowd of 20,000 at its end: nothing recurses."""
    number = 20_000
    wants = {agent: [agent if agent <= number else number + 1] for agent in range(2, 2 * number)}
    needs = {agent: alone(agent - 1) for agent in range(2, number + 2)}
    forest = grow(wants, needs)
    behind = forest.behind([1])
    assert len(behind) == len(wants) and max(depth for _, depth in behind) == number
    assert forest.path(2 * number - 1)[-1] == 1


def test_many_who_want_any_of_many_permits_are_one_need() -> None:
    """5,000 waiters of one semaphore of 5,000 permits: each holder and each waiter is looked at once."""
    looked = 0

    class Holders(tuple):  # type: ignore[type-arg]
        def __iter__(self):  # type: ignore[no-untyped-def]
            nonlocal looked
            looked += 1
            return super().__iter__()

    need = Need(Holders(range(1, 5001)), any_one=True)
    forest = grow({agent: ["slots"] for agent in range(5001, 10_001)}, {"slots": need})
    assert set(forest.parent.values()) == {1} and looked <= 3
