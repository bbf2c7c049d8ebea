"""Questions before functions that may do harm, asked in the terminal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from llmgate.agent.functions.approval import Answer, Choice, Question
from llmgate.cli.agent.clean import one_line

if TYPE_CHECKING:
    from llmgate.cli.agent.display import Display
    from llmgate.cli.agent.editor import Editor

_CHOICES: dict[str, Choice] = {
    "o": "once",
    "s": "session",
    "a": "always",
    "d": "deny",
    "n": "never",
}
_ASKED = "[o]nce  [s]ession  [a]lways  [d]eny  [n]ever: "


class TerminalApprover:
    """Asks the person at the terminal; Ctrl-C denies and stops the agent, Ctrl-D denies."""

    def __init__(self, editor: Editor, display: Display) -> None:
        self._editor = editor
        self._display = display

    async def ask(self, question: Question) -> Answer:
        """Wait for the answer of the person."""
        self._display.quiet()
        self._display.line(
            f"{question.agent} wants to call {one_line(question.function)} with:",
            mark=self._display.marks.event,
            style="bold yellow",
        )
        for name, value in question.arguments.items():
            shown = msgspec.json.encode(value).decode("utf-8", "replace")
            self._display.line(f"  {one_line(name)} = {one_line(shown)}", style="yellow")
        self._display.line(
            f"Answers for longer hold for: {one_line(question.pattern)}", style="dim"
        )
        while True:
            try:
                given = (await self._editor.ask(_ASKED)).strip().lower()
            except EOFError:
                return Answer("deny")
            except KeyboardInterrupt:
                raise asyncio.CancelledError from None
            for letter, choice in _CHOICES.items():
                if given in (letter, choice):
                    return Answer(choice)
            self._display.line("Please answer with o, s, a, d or n.", style="dim")
