"""The questions of the console and what follows from their answers: a filter, a file to save to, a level to set."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from fastlock.console import save, wording
from fastlock.console.prompt import Prompt
from fastlock.console.seen import Seen
from fastlock.reporting import printable

if TYPE_CHECKING:
    from fastlock.console.app import Top


class Questions:
    """Asks in the prompt's line. Each question is a coroutine that ends when it is answered."""

    def __init__(self, app: Top) -> None:
        self._app = app

    @property
    def _prompt(self) -> Prompt:
        return self._app.query_one(Prompt)

    # ---- the filter

    async def filter(self) -> None:
        """Filter what is shown, already while the answer is typed; the filter before is back where the user thinks better of it."""
        before = self._app.trail.here.query
        question = f"Show only: {wording.FILTER_HELP}"
        answer = await self._prompt.text(question, wording.filter_text(before), changed=self._filter)
        if answer is None:
            self._app.set_query(before)
            return
        try:
            self._app.set_query(wording.parse_filter(answer, before))
        except ValueError as exc:
            self._app.set_query(before)
            self._app.say(str(exc), "warn")

    def _filter(self, text: str) -> None:
        wrong = ""
        try:
            self._app.set_query(wording.parse_filter(text, self._app.trail.here.query))
        except ValueError as exc:
            wrong = str(exc)
        self._prompt.complain(wrong)

    # ---- saving

    async def save(self) -> None:
        """Save the page as it is when this is asked, in the form that the name's ending says; ask before a file is written over."""
        told, here = self._app.told, self._app.trail.here
        if told is None or told.page is None:
            self._app.say("There is nothing to save yet.", "warn")
            return
        svg = self._app.export_screenshot()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(told.read_at_s))
        what = here.view if here.target is None else here.target.kind
        name = await self._prompt.text("Save what is seen; .txt, .json or .svg:", f"fastlock-{what}-{stamp}.txt")
        if not name:
            return
        try:
            form = save.ending(name)
        except ValueError as exc:
            self._app.say(str(exc), "warn")
            return
        content = svg if form == ".svg" else save.as_json(told.page, what, told.read_at_s) if form == ".json" else save.as_text(told.page)
        await self._write(name, content)

    async def _write(self, name: str, content: str) -> None:
        try:
            try:
                save.write(name, content)
            except FileExistsError:
                if not await self._prompt.sure(f"{printable(name)} is there already. Write over it?"):
                    return
                save.write(name, content, over=True)
            self._app.say(f"Saved: {printable(name)}")
        except (OSError, ValueError) as exc:
            self._app.say(save.why_not(name, exc), "warn")

    # ---- the level

    async def level(self) -> None:
        """Set the level of a process after asking twice; whatever keeps it from that is said in a line."""
        seen = self._meant()
        if seen is None:
            self._app.say("Of which process? Put the cursor on one of its rows, or open it under Processes.", "warn")
            return
        who = printable(f"pid {seen.pid} ({seen.process})")
        answer = await self._prompt.text(wording.level_prompt(seen.pid, printable(seen.level), self._app.size.width), "order 10m", words=wording.LEVELS)
        if not answer:
            return
        try:
            wish = wording.parse_level(answer)
        except ValueError as exc:
            self._app.say(printable(str(exc)), "warn")
            return
        if await self._prompt.sure(wording.level_question(wish, who)):
            self._app.say(f"{who}: asked …")
            came = await asyncio.to_thread(self._app.fleet.set_level, seen.pid, wish.level, wish.for_s)
            self._app.say(printable(f"{who}: {came.text}"), "good" if came.done else "warn")

    def _meant(self) -> Seen | None:
        """The process of the row under the cursor, else of the page, else the only one that there is."""
        pids = {seen.pid: seen for seen in self._app.fleet.seen}
        for target in (self._app.row_target, self._app.trail.here.target):
            if target is not None and target.pid in pids:
                return pids[target.pid]
        return next(iter(pids.values())) if len(pids) == 1 else None
