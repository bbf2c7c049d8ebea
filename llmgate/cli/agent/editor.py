"""The line that a person writes on: history, completion, several lines, questions in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmgate.cli.line_history import line_history

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.buffer import Buffer
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.key_binding import KeyBindings

# A completion and what it means.
Choice = tuple[str, str]
# The line up to the cursor → how many of its last characters are completed, and to what.
Complete = Callable[[str], Awaitable[tuple[int, Iterable[Choice]]]]


class Editor:
    """Reads messages at a terminal. While it waits, what is printed appears above the line."""

    def __init__(self, folder: Path | None, complete: Complete) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.filters import Condition

        self.multiline = False
        self._draft = ""
        self._reading = False
        self._suspended: asyncio.Event | None = None
        self._resumed = asyncio.Event()
        self._asking = asyncio.Lock()
        # A menu is for commands only: it takes lines of the screen.
        commands = Condition(lambda: self._session.default_buffer.text.startswith("/"))
        self._session: PromptSession[str | None] = PromptSession(
            history=line_history(folder),
            completer=_completer(complete),
            complete_while_typing=commands,
            reserve_space_for_menu=6,
            key_bindings=_keys(lambda: self.multiline, complete),
            prompt_continuation=lambda width, line, wrap: "  ",
        )

    async def read(self) -> str | None:
        """The next message. Raises `EOFError` for Ctrl-D and `KeyboardInterrupt` for Ctrl-C."""
        from prompt_toolkit.patch_stdout import patch_stdout

        while True:
            self._reading = True
            try:
                with patch_stdout(raw=True):
                    text = await self._session.prompt_async(
                        "> ", multiline=self.multiline, default=self._draft, handle_sigint=False
                    )
            finally:
                self._reading = False
            if text is not None:
                self._draft = ""
                return text
            # Somebody asks a question in between; then the person goes on with the line.
            assert self._suspended is not None
            self._suspended.set()
            await self._resumed.wait()

    async def ask(self, message: str, default: str = "", *, multiline: bool = False) -> str:
        """The answer to a question, not kept in the history.

        Raises `EOFError` for Ctrl-D and `KeyboardInterrupt` for Ctrl-C.
        """
        from prompt_toolkit import PromptSession

        async with self._asking:
            await self._suspend()
            try:
                session: PromptSession[str] = PromptSession(key_bindings=_keys(lambda: multiline))
                return await session.prompt_async(
                    message, default=default, multiline=multiline, handle_sigint=False
                )
            finally:
                self._resumed.set()

    async def _suspend(self) -> None:
        """Take the line away that is being written, and keep what is on it."""
        self._resumed.clear()
        if not self._reading or self._session.app.is_done:
            return
        self._suspended = asyncio.Event()
        self._draft = self._session.default_buffer.text
        self._session.app.erase_when_done = True
        try:
            self._session.app.exit(result=None)
            await self._suspended.wait()
        finally:
            self._session.app.erase_when_done = False


async def _complete(buffer: Buffer, complete: Complete) -> None:
    """What Tab does. The library's own way does nothing while its menu is still being made."""
    state = buffer.complete_state
    if state is not None and state.complete_index is not None:
        buffer.complete_next()
        return
    line = buffer.document.text_before_cursor
    length, choices = await complete(line)
    texts = [text for text, _ in choices]
    if buffer.document.text_before_cursor != line or not texts:
        return
    if more := _common(texts)[length:]:
        buffer.insert_text(more)
    elif len(texts) > 1:
        buffer.complete_next()
        if buffer.complete_state is None:
            buffer.start_completion(select_first=True)


def _common(texts: list[str]) -> str:
    """What all of them begin with."""
    first, last = min(texts), max(texts)
    same = 0
    while same < len(first) and first[same] == last[same]:
        same += 1
    return first[:same]


def _completer(complete: Complete) -> Completer:
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document

    class Commands(Completer):
        def get_completions(
            self, document: Document, complete_event: CompleteEvent
        ) -> Iterable[Completion]:
            return ()  # all of them come as below

        async def get_completions_async(
            self, document: Document, complete_event: CompleteEvent
        ) -> AsyncGenerator[Completion, None]:
            length, choices = await complete(document.text_before_cursor)
            for text, meaning in choices:
                yield Completion(text, -length, display_meta=meaning)

    return Commands()


def _keys(multiline: Callable[[], bool], complete: Complete | None = None) -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    if complete is not None:

        @keys.add("tab")
        def complete_now(event: KeyPressEvent) -> None:
            """Complete as far as there is no doubt; again: go through what there is."""
            event.app.create_background_task(_complete(event.current_buffer, complete))

    @keys.add("<vt100-mouse-event>")
    def nothing(event: KeyPressEvent) -> None:
        """Nobody asks for the mouse. What looks like it, as a pasted escape sequence, may not be
        whole, and the library's own way ends in a traceback then."""

    @keys.add("escape", "enter")
    def new_line_or_send(event: KeyPressEvent) -> Any:
        """Alt-Enter: a new line while Enter sends, sends while Enter makes new lines."""
        if multiline():
            event.current_buffer.validate_and_handle()
        else:
            event.current_buffer.insert_text("\n")

    return keys
