"""The widget that draws a page. Only the lines that are seen are made, and of those only the ones that have changed are drawn."""

from __future__ import annotations

from rich.segment import Segment
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from fastlock.console import meanings
from fastlock.console.flow import Flow, Spot
from fastlock.console.pages.base import Page
from fastlock.console.seen import Target
from fastlock.console.tables import Cell, Line
from fastlock.console.trail import Cursor
from fastlock.console.watching import one_line

_MARK = "> "


class Listing(ScrollView, can_focus=True):
    """A page with a cursor on its rows; the titles of a table stay in sight."""

    BINDINGS = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "end(-1)", show=False),
        Binding("end", "end(1)", show=False),
        Binding("enter", "open", show=False),
    ]

    class Opened(Message):
        """A row is to be followed."""

        def __init__(self, target: Target) -> None:
            super().__init__()
            self.target = target

    class Sorted(Message):
        """A table is to be sorted by a column."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._page: Page | None = None
        self._flow: Flow | None = None
        self._cursor = Cursor()
        self._spot: Spot | None = None
        self._drawn: dict[int, Strip] = {}

    # ---- what is shown

    def show(self, page: Page, cursor: Cursor) -> None:
        """Show a page; the cursor's row stays where it is on the screen, as far as it can."""
        same = cursor is self._cursor
        self._page, self._cursor = page, cursor
        self._arrange(keep=same)

    @property
    def row_target(self) -> Target | None:
        """What the row under the cursor names, None where there is none."""
        return None if self._flow is None or self._spot is None else self._flow.row(self._spot).target

    @property
    def _room(self) -> Size:
        """What is left for lines beside the scrollbar."""
        return self.scrollable_content_region.size

    def _arrange(self, keep: bool) -> None:
        if self._page is None or self._room.width < 1:
            return
        self._flow = Flow(self._page, self._room.width, self._room.height)
        self._spot = self._cursor.settle(self._flow)
        size = Size(self._room.width, self._flow.height)
        if size != self.virtual_size:
            self.virtual_size = size
        self._scroll(self._top(round(self.scroll_y) if keep else 0))
        self._draw()

    def _top(self, top: int) -> int:
        """Return the first line to be seen of a new reading: the cursor's row stays where it was, once somebody has moved it or the page is about it."""
        if self._flow is None or self._spot is None:
            return top
        line = self._flow.line(self._spot)
        if self._cursor.moved:
            return self._seen_from(line - self._cursor.offset, line)
        return top if self._page is None or self._page.focus is None else self._seen_from(top, line)

    def _seen_from(self, top: int, line: int) -> int:
        """Return the nearest first line of the screen with which a row's line can be seen, below the titles that stay."""
        assert self._flow is not None
        lowest = line - self._room.height + 1
        highest = max(0, line - 1)
        return max(lowest, min(top, highest))

    def _scroll(self, top: int) -> None:
        top = max(0, min(top, self.virtual_size.height - self._room.height))
        if top != round(self.scroll_y):
            self.scroll_to(y=top, animate=False, force=True)
        self._note_offset()

    def _note_offset(self) -> None:
        if self._flow is not None and self._spot is not None:
            self._cursor.offset = self._flow.line(self._spot) - round(self.scroll_y)

    # ---- drawing

    def _draw(self) -> None:
        """Have those lines drawn that have changed."""
        for y in range(self._room.height):
            strip = self._strip(y)
            if self._drawn.get(y) != strip:
                self._drawn[y] = strip
                self.refresh(Region(0, y, self._room.width, 1))

    def render_line(self, y: int) -> Strip:
        """Return a line of the screen."""
        strip = self._drawn.get(y)
        if strip is None:
            strip = self._drawn[y] = self._strip(y)
        return strip

    def _strip(self, y: int) -> Strip:
        if self._flow is None:
            return Strip([Segment("Reading …" if y == 0 else "")]).adjust_cell_length(self._room.width)
        top = round(self.scroll_y)
        sticky = self._sticky(top) if y == 0 else None
        if sticky is not None:
            return self._line(self._flow.titles(sticky), False)
        line = top + y
        at_cursor = self._spot is not None and self._flow.spot(line) == self._spot
        try:
            cells = self._flow.cells(line)
        except Exception as exc:  # rows are made here, of what another process has written
            cells, at_cursor = (Cell(one_line("This row could not be made", exc), "warn"),), False
        return self._line(cells, at_cursor)

    def _sticky(self, top: int) -> int | None:
        """Return the section whose titles stand in the first line in the place of one of its rows."""
        assert self._flow is not None
        spot = self._flow.spot(top)
        return None if spot is None else spot.section

    def _line(self, cells: Line, at_cursor: bool) -> Strip:
        theme = self.app.theme
        if not at_cursor:
            segments = [Segment(cell.text, meanings.style(theme, cell.style)) for cell in cells]
            return Strip(segments).adjust_cell_length(self._room.width)
        text = _MARK + "".join(cell.text for cell in cells[1:])
        return Strip([Segment(text, meanings.CURSOR)]).adjust_cell_length(self._room.width, meanings.CURSOR)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Other lines are seen."""
        super().watch_scroll_y(old_value, new_value)
        self._drawn.clear()
        self._note_offset()

    def redraw(self) -> None:
        """Draw every line anew: the colours have changed."""
        self._drawn.clear()
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        """The page has another width."""
        self._drawn.clear()
        self._arrange(keep=True)

    # ---- the cursor

    def action_move(self, step: int) -> None:
        """Go up or down by rows; where the next one is out of sight, or there is none, the page moves by a line."""
        self._go(step, step)

    def action_page(self, direction: int) -> None:
        """Go up or down by a screen."""
        self._go(direction * max(1, self._room.height - 2), direction)

    def _go(self, step: int, direction: int) -> None:
        if self._flow is None:
            return
        spot = None
        if self._spot is not None and not self._is_ahead(self._spot, direction):
            line = self._flow.line(self._spot) + step
            spot = self._nearest(max(0, min(line, self._flow.height - 1)), direction)
        if spot is None or spot == self._spot:
            self._scroll(round(self.scroll_y) + step)
            self._draw()
        else:
            self._put(spot)

    def _is_ahead(self, spot: Spot, direction: int) -> bool:
        """Tell whether a row is out of sight, on that side."""
        assert self._flow is not None
        y = self._flow.line(spot) - round(self.scroll_y)
        return y >= self._room.height if direction > 0 else y < 0

    def action_end(self, direction: int) -> None:
        """Go to the first row or the last one."""
        if self._flow is None:
            return
        edge = 0 if direction < 0 else self._flow.height - 1
        spot = self._nearest(edge, -direction)
        if spot is not None:
            self._put(spot)
        self._scroll(edge)
        self._draw()

    def _nearest(self, line: int, direction: int) -> Spot | None:
        """Return the row in a line, or the next one in a direction, else the last one before."""
        assert self._flow is not None
        for way in (direction, -direction):
            at = line
            while 0 <= at < self._flow.height:
                spot = self._flow.spot(at)
                if spot is not None:
                    return spot
                at += way
        return None

    def _put(self, spot: Spot) -> None:
        assert self._flow is not None
        self._spot = spot
        self._cursor.put(spot, self._flow, moved=True)
        self._scroll(self._seen_from(round(self.scroll_y), self._flow.line(spot)))
        self._draw()

    def action_open(self) -> None:
        """Follow the row under the cursor; one that is out of sight is shown first."""
        if self._flow is None or self._spot is None:
            return
        target = self.row_target
        if not 0 <= self._flow.line(self._spot) - round(self.scroll_y) < self._room.height:
            self._put(self._spot)
        elif target is not None:
            self.post_message(self.Opened(target))

    # ---- the mouse

    def on_click(self, event: events.Click) -> None:
        """A row takes the cursor, and is followed by a second click; a column's title sorts."""
        at = event.get_content_offset(self)
        if at is None or self._flow is None:
            return
        top = round(self.scroll_y)
        section = self._sticky(top) if at.y == 0 else None
        if section is None:
            section = self._flow.titles_at(top + at.y)
        if section is not None:
            column = self._flow.column(section, at.x)
            if column is not None:
                self.post_message(self.Sorted(column.key))
            return
        spot = self._flow.spot(top + at.y)
        if spot is None:
            return
        if spot == self._spot:
            self.action_open()
        else:
            self._put(spot)
