"""The plain chat's terminal: reading lines, printing answers, commands, Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmgate.cli.conversation import Chat, summary
from llmgate.cli.interrupts import interrupts
from llmgate.cli.line_history import line_history
from llmgate.errors import LlmgateError
from llmgate.types import Delta

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

HELP = """\
/model [NAME]    show or choose the model
/wrapper [NAME]  show or choose the prompt format
/raw             the last prompt, its grammar and the model's raw text
/new             begin a new conversation
//               several lines on or off (then Alt-Enter or Esc Enter sends)
/exit            leave (so does Ctrl-D)
Ctrl-C stops an answer; Alt-Enter starts a new line; the up key brings earlier lines back."""


class Terminal:
    """Runs a chat on standard input and output until the person leaves."""

    def __init__(self, chat: Chat, folder: Path | None) -> None:
        self._chat = chat
        self._multiline = False
        self._leaving = False
        self._session = None
        if sys.stdin.isatty() and sys.stdout.isatty():
            self._session = _session(folder, lambda: self._multiline)

    async def run(self) -> None:
        """Converse until /exit or the end of the input."""
        if self._session is not None:
            click.secho(
                f"{self._chat.model}, wrapper {self._chat.wrapper}. /help lists the commands.",
                dim=True,
            )
        try:
            while not self._leaving and (line := await self._read()) is not None:
                if line.startswith("/"):
                    self._command(line)
                elif line.strip():
                    await self._answer(line)
        finally:
            await self._chat.gateway.aclose()

    async def _read(self) -> str | None:
        """The next input, None at its end."""
        if self._session is None:
            line = await asyncio.to_thread(sys.stdin.readline)
            return line.rstrip("\n") if line else None
        while True:
            try:
                return await self._session.prompt_async("> ", multiline=self._multiline)
            except KeyboardInterrupt:
                click.secho("(Ctrl-D or /exit leaves)", dim=True)
            except EOFError:
                return None

    async def _answer(self, text: str) -> None:
        deltas: list[Delta] = []
        printing = asyncio.create_task(self._print(text, deltas))
        with interrupts(printing):
            try:
                await printing
            except asyncio.CancelledError:
                if not printing.cancelled():
                    raise
            except LlmgateError as error:
                click.secho(f"\n{error}" if deltas else str(error), fg="red", err=True)
                return
        click.echo()
        click.secho(f"[{summary(deltas)}]", dim=True, err=True)

    async def _print(self, text: str, deltas: list[Delta]) -> None:
        async with contextlib.aclosing(self._chat.say(text)) as answer:
            thinking = False
            async for delta in answer:
                deltas.append(delta)
                if delta.reasoning:
                    click.secho(delta.reasoning, nl=False, dim=True)
                    thinking = True
                if delta.text:
                    click.echo("\n\n" + delta.text if thinking else delta.text, nl=False)
                    thinking = False

    def _command(self, line: str) -> None:
        name, _, argument = line.strip().partition(" ")
        argument = argument.strip()
        try:
            match name:
                case "/help" | "/":
                    click.echo(HELP)
                case "/exit" | "/quit":
                    self._leaving = True
                case "/new":
                    self._chat.forget()
                    click.echo("A new conversation.")
                case "//":
                    self._multiline = not self._multiline
                    click.echo(f"Several lines: {'on' if self._multiline else 'off'}.")
                case "/model":
                    if argument:
                        self._chat.use_model(argument)
                    _choices(self._chat.gateway.routes, self._chat.model)
                case "/wrapper":
                    if argument:
                        self._chat.use_wrapper(argument)
                    _choices(["auto", "model", *self._chat.wrappers], self._chat.wrapper)
                case "/raw":
                    self._raw()
                case _:
                    click.secho(f"There is no {name}; /help lists what there is.", fg="red")
        except LlmgateError as error:
            click.secho(str(error), fg="red", err=True)

    def _raw(self) -> None:
        if (exchange := self._chat.last_exchange) is None:
            click.echo("Nothing was said yet.")
            return
        prompt, text = exchange
        for title, part in (
            ("prompt", prompt.text),
            ("grammar", prompt.grammar or "(none: any text is allowed)"),
            ("raw output", text),
        ):
            click.secho(f"--- {title}", bold=True)
            click.echo(part)


def _choices(names: Iterable[str], chosen: str) -> None:
    for name in names:
        click.echo(f"{'*' if name == chosen else ' '} {name}")


def _session(folder: Path | None, multiline: Callable[[], bool]) -> PromptSession[str]:
    """A line editor with a history, kept in the user's folder where that can be written."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        """Alt-Enter: a new line while Enter sends, sends while Enter makes new lines."""
        if multiline():
            event.current_buffer.validate_and_handle()
        else:
            event.current_buffer.insert_text("\n")

    return PromptSession(history=line_history(folder), key_bindings=keys)
