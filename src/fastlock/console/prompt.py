"""The line at the bottom in which the console asks: for a text, or whether something is meant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Input

from fastlock.console.bars import Bar, Word


class Prompt(Vertical):
    """A question, and a line to answer it in; not seen while nothing is asked. One question at a time: a new one answers the one before with nothing."""

    BINDINGS = [Binding("escape", "answer_nothing", show=False)]

    def __init__(self, id: str, beside: Widget) -> None:
        super().__init__(id=id)
        self._beside = beside  # which has the keys again after an answer
        self._question = Bar("question")
        self._input = Input(id="answer", select_on_focus=False, compact=True)
        self._sure = _Sure(self)
        self._answer: asyncio.Future[str | None] | None = None
        self._changed: Callable[[str], None] | None = None
        self._words: Sequence[Word] = ()

    def compose(self) -> ComposeResult:
        """Put the question above the line."""
        yield self._question
        yield self._input
        yield self._sure

    def on_mount(self) -> None:
        """Nothing is asked yet."""
        self.display = False

    @property
    def asks(self) -> bool:
        """Whether a question is open."""
        return self._answer is not None

    # ---- questions

    async def text(
        self, question: str, value: str, *, words: Sequence[str] = (), changed: Callable[[str], None] | None = None
    ) -> str | None:
        """Ask for a text; None where the user thinks better of it. A click on one of the words puts it into the line."""
        choices = [Word(f"[{word}]", "key", f"app.answer_with({word!r})") for word in words]
        spaced = [part for choice in choices for part in (Word(" "), choice)]
        self._changed = changed
        self._input.value = value
        self._input.cursor_position = len(value)
        return await self._ask([Word(question, "title"), *spaced], self._input)

    async def sure(self, question: str) -> bool:
        """Ask whether something is meant: only y says so."""
        words = [Word(question, "title"), Word("  "), Word("[y] yes", "key", "app.answer('y')"), Word("  "), Word("[n] no", "key", "app.answer('')")]
        return await self._ask(words, self._sure) == "y"

    async def _ask(self, words: Sequence[Word], where: Widget) -> str | None:
        self.answer(None)
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._answer = answer
        self._words = words
        self._question.show(words)
        self._input.display, self._sure.display = where is self._input, where is self._sure
        self.display = True
        where.focus()
        try:
            return await answer
        finally:
            if self._answer is answer:
                self._close()

    def answer(self, text: str | None) -> None:
        """Answer the question that is open, if there is one."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(text)

    def _close(self) -> None:
        self._answer, self._changed = None, None
        self.display = False
        self._beside.focus()

    # ---- answers

    def put(self, word: str) -> None:
        """Put a word in the place of the first one."""
        _, _, rest = self._input.value.strip().partition(" ")
        self._input.value = f"{word} {rest}".strip()
        self._input.cursor_position = len(self._input.value)

    def complain(self, line: str) -> None:
        """Say in the place of the question what is wrong with the answer so far; "" where nothing is any more."""
        self._question.show([Word(line, "warn")] if line else self._words)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tell who asks what stands in the line."""
        event.stop()
        if self._changed is not None and self.asks:
            self._changed(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The line is the answer."""
        event.stop()
        self.answer(event.value)

    def action_answer_nothing(self) -> None:
        """The user thinks better of it."""
        self.answer(None)


class _Sure(Widget, can_focus=True):
    """Takes one key: y, or anything else."""

    DEFAULT_CSS = "_Sure { height: 0; }"

    def __init__(self, prompt: Prompt) -> None:
        super().__init__()
        self._prompt = prompt

    def on_key(self, event: events.Key) -> None:
        """Answer."""
        if event.key == "ctrl+c":
            return
        event.stop()
        self._prompt.answer("y" if event.key in ("y", "Y", "upper_y") else "")
