"""The console on a terminal: the views, the page, the keys. What is shown is made by `pages` on the watcher's thread; here it is drawn."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Protocol

from rich.console import RenderableType
from rich.text import Text
from rich.traceback import Traceback
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widgets import Static

from fastlock.console import picture, status
from fastlock.console.questions import Questions
from fastlock.console.bars import Bar
from fastlock.console.fleet import LevelSet
from fastlock.console.helping import help_page
from fastlock.console.history import History
from fastlock.console.leaving import Leaving, NoTerminal, is_terminal
from fastlock.console.listing import Listing
from fastlock.console.pages import VIEWS, Fleet, Page, Section, page
from fastlock.console.prompt import Prompt
from fastlock.console.seen import Target
from fastlock.console.tables import Cell, Grid, Query
from fastlock.console.terminal import Terminal
from fastlock.console.trail import Trail
from fastlock.console.watching import PERIOD_S, Order, Told, Watcher, one_line

HELP = "help"
LEAST = (24, 6)  # columns and lines below which there is only a word about that
_CLOSE_S = 1.0
_SAID_S = 8.0


class Watched(Fleet, Protocol):
    """The processes, and what can be done with them."""

    def refresh(self) -> object:
        """Read every process anew; on one thread."""

    def set_level(self, pid: int, level: str, for_s: float | None) -> LevelSet:
        """Set the level of a process, for so many seconds or for good; on any thread."""


class Top(App[None]):
    """`fastlock top`."""

    TITLE = "fastlock top"
    CSS_PATH = "console.tcss"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(f"{number},{view.key}", f"view('{view.name}')", show=False) for number, view in enumerate(VIEWS.values(), 1)),
        Binding("escape,backspace", "leave_page", show=False),
        Binding("slash", "filter", show=False),
        Binding("s", "sort", show=False),
        Binding("S,upper_s", "reverse", show=False),
        Binding("space", "pause", show=False),
        Binding("e", "save", show=False),
        Binding("L,upper_l", "level", show=False),
        Binding("t", "theme", show=False),
        Binding("question_mark", "help", show=False),
        Binding("q", "quit", show=False),
        Binding("ctrl+z", "suspend_process", show=False),
        Binding("ctrl+c,ctrl+q", "quit", show=False, priority=True),
    ]

    def __init__(
        self,
        fleet: Watched,
        *,
        view: str = "waits",
        query: Query = Query(),
        period_s: float = PERIOD_S,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(driver_class=Terminal, ansi_color=True)
        self.theme = "ansi-dark"
        self.fleet = fleet
        self.trail = Trail(view, query)
        self.told: Told | None = None  # what is shown
        self.paused = False
        self.status = 0
        self._number = 0
        self._history = History()
        self._watcher = Watcher(self._read, self._compose, self._tell, period_s=period_s, wall_s=wall_s)
        self._leaving = Leaving(self.leave)
        self._questions = Questions(self)
        self._said: tuple[str, str] = ("", "")  # a text, and what it means
        self._forgets: Timer | None = None

    @property
    def is_settled(self) -> bool:
        """Whether what is shown is what was asked for last."""
        return self.told is not None and self.told.number == self._number

    # ---- the screen

    def compose(self) -> ComposeResult:
        """Put the lines and the page on the screen."""
        yield Bar("title")
        yield Bar("views")
        listing = Listing("page")
        yield listing
        yield Bar("said")
        yield Prompt("prompt", listing)
        yield Bar("keys")
        yield Static(f"Too small: {LEAST[0]} columns and {LEAST[1]} lines are needed.", id="small")

    def on_mount(self) -> None:
        """Begin to read."""
        self._here = loop = asyncio.get_running_loop()
        if not self.is_headless:
            self._leaving.follow_signals(loop)
            self.set_interval(1.0, self._leaving.look)
            self.app_resume_signal.subscribe(self, self._repaint)
        self._listing.focus()
        self._order()
        self._watcher.start()

    def on_unmount(self) -> None:
        """End the thread that reads, if it comes to an end."""
        self._watcher.close(_CLOSE_S)

    @property
    def _listing(self) -> Listing:
        return self.query_one("#page", Listing)

    @property
    def row_target(self) -> Target | None:
        """What the row under the cursor names."""
        return self._listing.row_target

    def on_resize(self, event: events.Resize) -> None:
        """Too small a terminal has a word about that and nothing else."""
        self.screen.set_class(event.size.width < LEAST[0] or event.size.height < LEAST[1], "-small")
        self._show_bars()

    def _repaint(self, _: object) -> None:
        """Draw everything: after Ctrl-Z and fg nothing is left on the terminal."""
        self.screen.refresh(layout=True)

    # ---- reading: on the watcher's thread

    def _read(self) -> None:
        self.fleet.refresh()
        self._history.note(self.fleet.seen)

    def _compose(self, order: Order) -> Page:
        if order.view == HELP:
            return help_page()
        return page(order.view, self.fleet, order.query, order.target, self._history)

    def _tell(self, told: Told) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody looks any more
            self._here.call_soon_threadsafe(self._show, told)

    # ---- showing: on the screen's

    def _order(self) -> None:
        """Ask for the page of where the user is."""
        here = self.trail.here
        self._number += 1
        self._watcher.show(Order(self._number, here.view, here.query, here.target))

    def _show(self, told: Told) -> None:
        if told.number != self._number or not self.is_running:
            return
        if told.page is None:
            same = self.told is not None and self.told.number == told.number
            told = told._replace(page=self.told.page) if self.told is not None and same else told._replace(page=_without(told.trouble), trouble="")
        self.told = told
        assert told.page is not None
        self.trail.here.title = told.page.title
        try:
            self._listing.show(told.page, self.trail.here.cursor)
        except Exception as exc:  # looking for the cursor's row makes rows
            self._listing.show(_without(one_line("This page could not be shown", exc)), self.trail.here.cursor)
        self._show_bars()

    def _show_bars(self) -> None:
        width = self.size.width
        self.query_one("#title", Bar).show(status.title(self.trail, self.told, self.paused))
        self.query_one("#views", Bar).show(status.views(self.trail.view, width))
        self.query_one("#keys", Bar).show(status.keys(width))
        said = status.said(self._said, self.trail.here.query, self.told, width)
        bar = self.query_one("#said", Bar)
        bar.show(*said)
        bar.set_class(bool(said), "-open")

    def say(self, text: str, meaning: str = "") -> None:
        """Say for some seconds what has happened."""
        if self._forgets is not None:
            self._forgets.stop()
        self._said = (text, meaning)
        self._show_bars()
        self._forgets = self.set_timer(_SAID_S, self._forget)

    def _forget(self) -> None:
        self._said = ("", "")
        self._show_bars()

    # ---- where to

    def action_view(self, name: str) -> None:
        """Show a view."""
        self.trail.go(name)
        self._order()

    def on_listing_opened(self, event: Listing.Opened) -> None:
        """Go to what a row names."""
        self.trail.enter(self.trail.view, event.target)
        self._order()

    def action_open(self) -> None:
        """Go to what the row under the cursor names."""
        self._listing.action_open()

    def action_leave_page(self) -> None:
        """Go back; in a view take the filter away. A question that is open is answered with nothing, wherever the focus is."""
        if self.query_one(Prompt).asks:
            self.query_one(Prompt).answer(None)
            return
        self._forget()
        here = self.trail.here
        if not self.trail.back():
            if here.query == Query():
                return
            here.query = Query()
        self._order()

    def action_help(self) -> None:
        """Show the keys, or go back from there."""
        if self.trail.here.view == HELP:
            self.action_leave_page()
        else:
            self.trail.enter(HELP)
            self._order()

    # ---- what of it, and in which order

    def set_query(self, query: Query) -> None:
        """Filter and sort what is shown."""
        if query != self.trail.here.query:
            self.trail.here.query = query
            self._order()

    def action_sort(self) -> None:
        """Sort by the next column that sorts, after the last one in the table's own order."""
        grid = self._grid()
        if grid is not None:
            keys = ["", *grid.sorts]
            here = self.trail.here.query
            at = keys.index(here.sort) if here.sort in keys else 0
            self.set_query(here._replace(sort=keys[(at + 1) % len(keys)], reverse=False))

    def action_reverse(self) -> None:
        """Turn the order around."""
        here = self.trail.here.query
        self.set_query(here._replace(reverse=not here.reverse))

    def on_listing_sorted(self, event: Listing.Sorted) -> None:
        """Sort by a column; by the same one a second time the other way."""
        here = self.trail.here.query
        if here.sort == event.key:
            self.action_reverse()
        else:
            self.set_query(here._replace(sort=event.key, reverse=False))

    def _grid(self) -> Grid | None:
        """The first table of the page."""
        shown = None if self.told is None else self.told.page
        return None if shown is None else next((each.body for each in shown.sections if isinstance(each.body, Grid)), None)

    def action_pause(self) -> None:
        """Stop reading, or go on."""
        self.paused = not self.paused
        self._watcher.pause(self.paused)
        self._show_bars()

    def action_theme(self) -> None:
        """Use the colours for the other background."""
        self.theme = "ansi-light" if self.theme == "ansi-dark" else "ansi-dark"
        self._listing.redraw()

    # ---- questions

    def _ask(self, asked: Coroutine[Any, Any, None]) -> None:
        self.run_worker(asked, exclusive=True, group="asking")

    def action_filter(self) -> None:
        """Ask what to show."""
        self._ask(self._questions.filter())

    def action_save(self) -> None:
        """Ask for a file's name, and save what is seen."""
        self._ask(self._questions.save())

    def action_level(self) -> None:
        """Ask for a level, and set it."""
        self._ask(self._questions.level())

    def action_answer(self, text: str) -> None:
        """Answer what is asked."""
        self.query_one(Prompt).answer(text)

    def action_answer_with(self, word: str) -> None:
        """Put a word into the answer."""
        self.query_one(Prompt).put(word)

    # ---- the end

    def leave(self, code: int) -> None:
        """End with an exit status; the terminal is put back as it was."""
        self.status = code
        self.exit(return_code=code)

    def panic(self, *renderables: RenderableType) -> None:
        """End with a line and no traceback; called by textual's own threads too."""
        super().panic(*(Text(_brief(each)) if isinstance(each, Traceback) else each for each in renderables))

    def _fatal_error(self) -> None:
        """End with a line that says what broke, and where; called by textual where a handler raises."""
        exc = sys.exc_info()[1]
        self.panic(Text(one_line("fastlock top ends, by a defect of its own", exc) if isinstance(exc, Exception) else "fastlock top ends."))

    # ---- pictures

    def export_screenshot(self, *, title: str | None = None, simplify: bool = False) -> str:
        """Return what is on the screen as an SVG."""
        return picture.drawn(super().export_screenshot(title=title, simplify=simplify), self.current_theme.dark)


def _brief(traceback: Traceback) -> str:
    """Say in a line what a traceback says; an OSError of a thread that reads keys means that there is nothing to read from."""
    raised = traceback.trace.stacks[0]
    return "The terminal is gone." if raised.exc_type == "OSError" else f"fastlock top ends, by a defect of its own: {raised.exc_type}: {raised.exc_value}"


def _without(trouble: str) -> Page:
    return Page("No page", (), (Section("", ((Cell(trouble, "warn"),),)),), ())


def run(fleet: Watched, *, view: str = "waits", query: Query = Query()) -> int:
    """Show these processes until the user ends it; the exit status. NoTerminal where there is no terminal."""
    if not is_terminal():
        raise NoTerminal("there is no terminal to draw on; `fastlock top --once` prints the same as text")
    app = Top(fleet, view=view, query=query)
    app.run()
    return app.status or app.return_code or 0
