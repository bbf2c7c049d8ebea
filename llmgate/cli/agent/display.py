"""What a person sees of an agent at work: in a terminal, in a pipe, or as JSON."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from llmgate.agent.watch import Watch
from llmgate.cli.agent.argument import StringArgument
from llmgate.cli.agent.clean import clean, fitted, one_line
from llmgate.cli.agent.marks import Marks, is_memory, marks_for
from llmgate.cli.agent.turn import COUNTED, STANDING, Turn, summary
from llmgate.cli.agent.wrapping import Wrapping, wrapped
from llmgate.errors import LlmgateError
from llmgate.types import Delta, Note, ToolCall

if TYPE_CHECKING:
    from rich.console import Console

    from llmgate.agent.steps import Step

# The function by which an agent speaks, and its argument.
SAY = "send_message"
_SAID = "message"
_WIDEST = 160
# After so many seconds the beginning of a word is shown without its end.
_PATIENCE = 0.15
_PRESSURE = "the window is nearly full: the agent is told, and goes on to keep what matters"

Part = Literal["thoughts", "says"]


class Display(Watch):
    """Writes what happens as it happens.

    What the agent says goes to standard output. All the rest does too where that is a terminal,
    and else to standard error, so that what is piped on is only what was said. While `behind` a
    prompt that waits for the person, only whole lines are written.
    """

    def __init__(self, *, debug: bool = False) -> None:
        from rich.console import Console

        self.debug = debug
        self.behind = False
        self.out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        aside = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, stderr=True)
        self.aside = self.out if self.out.is_terminal else aside
        self.marks: Marks = marks_for(self.out)
        self.turn = Turn()
        # Whether the model was asked in this turn.
        self._asked = False
        self._open: Part | None = None
        self._wrapping = Wrapping()
        self._flushing: asyncio.TimerHandle | None = None
        self._held = ""
        self._thoughts = ""
        self._speaking: dict[int, StringArgument] = {}
        self._names: dict[int, str] = {}
        self._spoken: dict[int, str] = {}
        self._asked_at = 0.0
        self._begun_at: float | None = None
        self._waiting: asyncio.Task[None] | None = None
        # Notes that were told: of this step, and for good.
        self._told: set[str] = set()
        self._told_once: set[str] = set()

    # What a turn is made of.

    def begin(self) -> None:
        """A new turn."""
        self._asked = False
        self.turn = Turn()

    def end(self) -> None:
        """The turn is over: say what it took."""
        self.quiet()
        if line := summary(self.turn, self.marks.between):
            self.line(f"[{line}]", style="dim")
        self.turn = Turn()

    def quiet(self) -> None:
        """Finish the line that is being written, and wait for nothing."""
        self._stop_waiting()
        self._finish_line()

    def thinking(self, event: str | None, attempt: int) -> None:
        """The model is about to be asked."""
        self.quiet()
        self._forget_answer()
        if event == "heartbeat" and attempt == 1 and self.behind:
            self.line("", mark=self.marks.heartbeat + "timed heartbeat", style="dim")
        self._asked = True
        self._asked_at, self._begun_at = time.monotonic(), None
        if self._can_erase():
            self._waiting = asyncio.create_task(self._wait())

    def delta(self, delta: Delta) -> None:
        """A piece of the answer: thoughts and what it says are shown at once."""
        if self._begun_at is None and (delta.text or delta.reasoning or delta.call):
            self._begun_at = time.monotonic()
        if delta.reasoning:
            self._write("thoughts", delta.reasoning)
        if delta.text:
            self._thoughts += delta.text
            self._write("thoughts", delta.text)
        if (call := delta.call) is not None:
            if call.name:
                self._names[call.index] = call.name
                self._speaking[call.index] = StringArgument(_SAID)
            speaking = self._speaking.get(call.index)
            if speaking is not None and self._names[call.index] == SAY and call.arguments:
                said = speaking.feed(call.arguments)
                # What can't be taken back is written when the step is kept.
                if said and self.out.is_terminal:
                    self._spoken[call.index] = self._spoken.get(call.index, "") + said
                    self._write("says", said)
        if delta.finish is not None:
            self._count_time()

    def calling(self, call: ToolCall) -> None:
        """A function is about to run."""
        self._count_time()
        if call.name != SAY:
            self.quiet()
            mark = self.marks.memory if is_memory(call.name) else self.marks.calls
            self.short(call_text(call), mark=mark, style="cyan")

    def note(self, note: Note) -> None:
        """Something happened that is not part of the conversation."""
        self._tell(note)

    def compacting(self, count: int) -> None:
        """The oldest messages are about to leave the window."""
        self.quiet()
        self.line(f"summarising {count} messages…", mark=self.marks.event, style="dim")

    def step(self, step: Step) -> None:
        """A step is done and kept: show of it what was not shown yet."""
        self._stop_waiting()
        self._count_time()
        self.turn.steps.append(step)
        if step.resumed and not self._asked:
            self.line("(left from before the interruption)", style="dim")
        if step.thoughts and not self._thoughts and step.thoughts != step.said:
            self._write("thoughts", step.thoughts)
        if step.said is not None:
            self._say_rest(step.said)
        self._finish_line()
        if step.call is not None and (step.call.name != SAY or step.ok is False):
            if step.call.name == SAY:
                self.short(call_text(step.call), mark=self.marks.calls, style="cyan")
            self._result(step)
        for note in step.notes:
            self._tell(note)
        if step.stopped:
            self.line(f"stopped: {step.stopped}", mark=self.marks.event, style="yellow")
        elif step.next == "pressure":
            self.line(_PRESSURE, mark=self.marks.event, style="dim")
        self._told.clear()

    def error(self, error: LlmgateError | OSError, hint: str = "") -> None:
        """What failed, on one line."""
        self.quiet()
        self.line(one_line(f"{error} {hint}"), style="red")

    # Lines.

    def line(self, text: str = "", *, mark: str = "", style: str = "") -> None:
        """A line, or several, beside the conversation."""
        self._put(self.aside, self._wrapped(self.aside, mark + clean(text)) + "\n", style)

    def short(self, text: str, *, mark: str = "", style: str = "") -> None:
        """A line that is cut off where the terminal ends; whole with --debug."""
        if self.debug:
            self.line(text, mark=mark, style=style)
            return
        from rich.cells import cell_len

        width = min(self.aside.width, _WIDEST) if self.aside.is_terminal else _WIDEST
        self.line(fitted(text, width - 1 - cell_len(mark)), mark=mark, style=style)

    def answer(self, text: str, *, style: str = "", exact: bool = False) -> None:
        """What a command has found, on standard output; `exact`: lines stay as they are."""
        text = clean(text)
        self._put(self.out, (text if exact else self._wrapped(self.out, text)) + "\n", style)

    def table(self, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        """Rows in columns, on standard output."""
        from rich.cells import cell_len

        shown = [tuple(one_line(cell) for cell in row) for row in rows]
        widths = [max(cell_len(row[i]) for row in (headings, *shown)) for i in range(len(headings))]
        for row, style in ((headings, "bold"), *((row, "") for row in shown)):
            cells = (
                cell + " " * (width - cell_len(cell))
                for cell, width in zip(row, widths, strict=True)
            )
            self._put(self.out, "  ".join(cells).rstrip() + "\n", style)

    # How.

    def _result(self, step: Step) -> None:
        if step.ok is None:
            return
        mark = self.marks.ok if step.ok else self.marks.failed
        text = step.result or ""
        if step.ok and text in ("", "None"):
            text = "done"
        self.short(text, mark="   " + mark, style="" if step.ok else "red")

    def _say_rest(self, said: str) -> None:
        """What of the words was not shown as they were written, which is most often nothing."""
        shown = self._spoken.pop(min(self._spoken)) if self._spoken else ""
        if said.startswith(shown) and (self._open == "says" or not shown):
            self._write("says", said[len(shown) :])
        elif said != shown:
            self._finish_line()
            self._write("says", said)

    def _write(self, part: Part, text: str) -> None:
        from rich.cells import cell_len

        if not text:
            return
        self._stop_waiting()
        if part != self._open:
            self._finish_line()
            text = text.lstrip("\n")
            if not text:
                return
            self._open, self._wrapping = part, Wrapping()
            console = self._console(part)
            if console.is_terminal or part != "says":
                mark = self.marks.says if part == "says" else self.marks.thoughts
                self._put(console, mark, self._style(part))
                self._wrapping = Wrapping(cell_len(mark))
        console = self._console(part)
        text = clean(text)
        if console.is_terminal:
            text = self._wrapping.feed(text, console.width)
            self._flush_later()
        if text:
            self._put(console, text, self._style(part))

    def _finish_line(self) -> None:
        if self._open is not None:
            self._flush_word()
            part, self._open = self._open, None
            self._put(self._console(part), "\n", "")

    def _flush_later(self) -> None:
        """Show the beginning of a word soon, if nothing more of it comes until then."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._wrapping.holds and not self.behind:
            self._flushing = asyncio.get_running_loop().call_later(_PATIENCE, self._flush_word)

    def _flush_word(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._open is not None and self._wrapping.holds:
            console = self._console(self._open)
            self._put(console, self._wrapping.flush(console.width), self._style(self._open))

    def _wrapped(self, console: Console, text: str) -> str:
        return wrapped(text, console.width) if console.is_terminal and not self.debug else text

    def _console(self, part: Part) -> Console:
        return self.out if part == "says" else self.aside

    @staticmethod
    def _style(part: Part) -> str:
        return "" if part == "says" else "dim"

    def _put(self, console: Console, text: str, style: str) -> None:
        if self.behind:
            # What stands behind a prompt is drawn anew with each write: only whole lines are.
            self._held += text
            if not text.endswith("\n"):
                return
            text, self._held = self._held, ""
        elif self._held:
            # The person has sent the line that it stood behind.
            held, self._held = self._held, ""
            console.out(held, highlight=False, end="")
        console.out(text, style=style or None, highlight=False, end="")

    def _tell(self, note: Note) -> None:
        if note.code in COUNTED and not self.debug:
            return
        text = f"{note.code}: {note.message}"
        told = self._told_once if note.code in STANDING else self._told
        if text not in told:
            told.add(text)
            self.quiet()
            self.line(one_line(text), mark=self.marks.event, style="dim")

    def _forget_answer(self) -> None:
        self._thoughts = ""
        self._speaking.clear()
        self._names.clear()
        self._spoken.clear()

    def _count_time(self) -> None:
        if self._begun_at is not None:
            self.turn.writing += time.monotonic() - self._begun_at
            self._begun_at = None

    # Waiting for the first word.

    def _can_erase(self) -> bool:
        return self.out.is_terminal and not self.out.is_dumb_terminal and not self.behind

    async def _wait(self) -> None:
        """Show for how long, from the second second on."""
        while True:
            await asyncio.sleep(1)
            seconds = int(time.monotonic() - self._asked_at)
            self.out.file.write(f"\r{self.marks.thoughts}… {seconds} s")
            self.out.file.flush()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
            if time.monotonic() - self._asked_at >= 1:
                self.out.file.write("\r\x1b[K")
                self.out.file.flush()


class JsonDisplay(Display):
    """One JSON object for each step on standard output; nothing else goes there."""

    def __init__(self, *, debug: bool = False) -> None:
        super().__init__(debug=debug)
        from rich.console import Console

        self.aside = Console(
            highlight=False, markup=False, emoji=False, soft_wrap=True, stderr=True
        )
        self.failed = False

    def thinking(self, event: str | None, attempt: int) -> None:
        """Nothing is shown before a step is done."""

    def delta(self, delta: Delta) -> None:
        """Nothing is shown before a step is done."""

    def calling(self, call: ToolCall) -> None:
        """Nothing is shown before a step is done."""

    def end(self) -> None:
        """The steps have said what they took."""

    def step(self, step: Step) -> None:
        """The step as it is kept."""
        print_json(step)

    def error(self, error: LlmgateError | OSError, hint: str = "") -> None:
        """An object too, so that whoever reads steps is told."""
        code = error.code if isinstance(error, LlmgateError) else None
        print_json({"error": {"message": str(error), "code": code}})

    def answer(self, text: str, *, style: str = "", exact: bool = False) -> None:
        """Commands answer on standard error."""
        self.line(text, style=style)

    def table(self, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        """Commands answer on standard error."""
        for row in (headings, *rows):
            self.line("  ".join(one_line(cell) for cell in row))


def print_json(value: Any) -> None:
    """A line of JSON that no terminal acts on."""
    text = msgspec.json.encode(value).decode()
    # JSON escapes what stands before the space; these a terminal may act on as well.
    text = text.translate({code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)})
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def call_text(call: ToolCall) -> str:
    """A call as a person reads it: `name(a="x", b=2)`."""
    try:
        arguments = msgspec.json.decode(call.arguments or "{}")
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        arguments = None
    if not isinstance(arguments, dict):
        return f"{call.name}({call.arguments})"
    parts = (
        f"{key}={msgspec.json.encode(value).decode('utf-8', 'replace')}"
        for key, value in arguments.items()
    )
    return f"{call.name}({', '.join(parts)})"
