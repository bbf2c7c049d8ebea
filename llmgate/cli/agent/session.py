"""A person and an agent at a terminal: messages, commands, Ctrl-C, timed heartbeats."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llmgate.agent import Alert, Heartbeat, Login, UserMessage
from llmgate.agent.kept import check_free
from llmgate.cli.agent import commands
from llmgate.cli.agent.display import Display
from llmgate.cli.interrupts import interrupts
from llmgate.errors import AgentBusy, LlmgateError

if TYPE_CHECKING:
    from llmgate.agent import Agent, Event, Step
    from llmgate.cli.agent.editor import Editor

_GOES_ON = " An empty line goes on with it, /undo takes it back."


class Reader(Protocol):
    """Where messages come from."""

    multiline: bool

    async def read(self) -> str | None:
        """The next message, None at the end."""
        ...


class Session:
    """Talks with one agent until the person leaves. `editor` is None where nobody can be asked."""

    def __init__(
        self,
        agent: Agent,
        display: Display,
        reader: Reader,
        *,
        editor: Editor | None = None,
    ) -> None:
        self.agent = agent
        self.display = display
        self.reader = reader
        self.editor = editor
        self.leaving = False
        self.failed = False
        self._beating: asyncio.Task[None] | None = None

    async def run(self, *, first: bool) -> bool:
        """Converse until /exit or the end of the input; whether every turn of a pipe went well.

        A new agent says the first words, unless the person goes `first`.
        """
        if self.editor is not None:
            self.display.line(
                f"{self.agent.name}, with {self.agent.model}. /help lists the commands.",
                style="dim",
            )
        # One that never said anything is new, however often it was opened.
        new = not self.agent.state.greeted
        if self.agent.pending and not (new and first):
            await self._stoppable(self._go_on(told=not new))
        if not new and not self.agent.pending:
            await self.agent.tell(Login())
        self._start_heartbeats()
        try:
            while not self.leaving and (line := await self._read()) is not None:
                await self._stoppable(self._take(line))
        finally:
            await self._stop_heartbeats()
        # A person has seen what failed, and gone on.
        return self.editor is not None or not self.failed

    async def _go_on(self, *, told: bool) -> None:
        """Go on with what is left of an earlier session, unless another program is at it."""
        try:
            check_free(self.agent.state, self.agent.home.runner)
        except AgentBusy as error:
            self.failed = True
            self.display.error(error)
            return
        if told:
            self.display.line("Going on where the last session was interrupted.", style="dim")
        await self.turn(self.agent.run(None, watch=self.display))

    async def send(self, event: Event) -> None:
        """Let something happen to the agent and show what comes of it."""
        await self.turn(self.agent.run(event, watch=self.display))

    async def heartbeat(self) -> None:
        """Wake the agent up."""
        await self.send(Heartbeat())

    async def warn_of_memory(self) -> None:
        """Tell the agent that its window is nearly full."""
        await self.send(Alert(self.agent.pressure_text))

    async def turn(self, steps: AsyncGenerator[Step, None]) -> None:
        """Show steps as they come; what fails is one line."""
        self.display.begin()
        try:
            async with contextlib.aclosing(steps):
                async for step in steps:
                    self.display.step(step)
                    if step.stopped and step.next == "failed":
                        self.failed = True
        except LlmgateError as error:
            self.failed = True
            self.display.end()
            # What is refused because somebody else runs the agent was not kept.
            busy = isinstance(error, AgentBusy)
            self.display.error(error, "Nothing was kept." if busy else "/retry asks again.")
        finally:
            self.display.end()

    async def again(self) -> None:
        """What /retry does: ask again where asking failed, else answer the last message anew."""
        if self.agent.pending:
            await self.turn(self.agent.run(None, watch=self.display))
        else:
            await self.turn(self.agent.retry(watch=self.display))

    async def _stoppable(self, what: Coroutine[Any, Any, None]) -> None:
        """Do something that Ctrl-C stops."""
        doing = asyncio.create_task(what)
        with interrupts(doing):
            try:
                await doing
            except asyncio.CancelledError:
                if not doing.cancelled():
                    doing.cancel()
                    raise
                self.display.quiet()
                hint = _GOES_ON if self.agent.pending else ""
                self.display.line(f"Stopped.{hint}", style="dim")

    async def _read(self) -> str | None:
        while True:
            self.display.behind = self.editor is not None
            try:
                return await self.reader.read()
            except KeyboardInterrupt:
                if self.agent.running:
                    await self._stop_heartbeats()
                    self._start_heartbeats()
                    self.display.quiet()
                    self.display.line("Stopped the heartbeat.", style="dim")
                else:
                    self.display.line("(Ctrl-D or /exit leaves)", style="dim")
            except EOFError:
                return None
            finally:
                self.display.behind = False

    async def _take(self, line: str) -> None:
        """A line of the person: a command, a message, or a wish to go on."""
        text = line.strip()
        if text.startswith("/"):
            await commands.run(self, text)
        elif text.startswith("!"):
            self.display.line(
                "! runs nothing here. Commands begin with /, see /help; to say it, put a space and "
                "other words before it.",
                style="yellow",
            )
        elif text:
            await self.send(UserMessage(line.strip("\n")))
        elif self.agent.pending:
            await self.turn(self.agent.run(None, watch=self.display))
        elif self.editor is not None:
            self.display.line("(an empty line says nothing; /help lists the commands)", style="dim")

    def _start_heartbeats(self) -> None:
        minutes = self.agent.home.settings.agent.heartbeat_minutes
        if minutes is not None:
            self._beating = asyncio.create_task(self._beat(60 * minutes))

    async def _stop_heartbeats(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beating
            self._beating = None

    async def _beat(self, seconds: float) -> None:
        """Show what the agent does when it wakes by itself."""
        while True:
            try:
                async with contextlib.aclosing(self.agent.heartbeats(watch=self.display)) as steps:
                    async for step in steps:
                        self.display.step(step)
                        if step.next is None or step.stopped:
                            self.display.end()
            except LlmgateError as error:
                self.display.error(error)
                # What has failed is not tried again at once.
                await asyncio.sleep(seconds)


async def converse(
    agent: Agent,
    *,
    first: bool,
    json: bool,
    debug: bool,
    interactive: bool,
    folder: Path | None,
) -> bool:
    """Talk with an agent on standard input and output; whether every turn went well."""
    from llmgate.cli.agent.display import JsonDisplay
    from llmgate.cli.agent.lines import PipedLines

    display = JsonDisplay(debug=debug) if json else Display(debug=debug)
    if not interactive:
        return await Session(agent, display, PipedLines()).run(first=True)
    from llmgate.cli.agent.approving import TerminalApprover
    from llmgate.cli.agent.completion import completing
    from llmgate.cli.agent.editor import Editor

    editor = Editor(folder, completing(agent))
    display.approver = TerminalApprover(editor, display)
    session = Session(agent, display, editor, editor=editor)
    return await session.run(first=first)
