"""A wrapper: writes requests out as prompts, and reads what comes back."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol

import msgspec

from llmgate import grammar
from llmgate.errors import OutputError, RequestError
from llmgate.styles import Pair, Style
from llmgate.types import Caps, Completion, Delta, Finish, Prompt, Request
from llmgate.wrappers.answers import Task
from llmgate.wrappers.parts import Marks, Part, parts_of
from llmgate.wrappers.reader import Reader
from llmgate.wrappers.schemas import Held
from llmgate.wrappers.spec import Options, Spec
from llmgate.wrappers.template import Template
from llmgate.wrappers.tools import Compiler, offered, only

# What of a mark may be a token of its own, which a server hides if it is not told otherwise.
_TOKEN = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")


class Writer(Protocol):
    """Writes a conversation out: a template of ours, or the model's own."""

    name: str
    spec: Spec
    options: Options
    style: Style
    reasoning: tuple[Pair, ...]
    lists_tools: bool
    # Whether the same request always gives the same prompt.
    steady: bool

    def source(self, request: Request) -> str:
        """The text of the template that writes the request's prompt."""
        ...

    def write(
        self, request: Request, appendix: str, prefill: str, marks: Marks | None = None
    ) -> str:
        """The prompt's text, with `marks` in it; `appendix` goes to the end of the system text."""
        ...


class Wrapper:
    """Renders requests and reads answers for one template with one set of options."""

    def __init__(self, writer: Writer) -> None:
        self.name = writer.name
        self.spec = writer.spec
        self.options = writer.options
        self.style = writer.style
        self.reasoning = writer.style.reasoning or writer.reasoning
        self._writer = writer
        self._compiler = Compiler(self.spec, self.style, self.options, writer.reasoning)
        self._preserved = tokens(self.style, self.reasoning)
        self._last: tuple[object, str] = None, ""

    @classmethod
    def load(
        cls, name: str, options: Mapping[str, Any] | None = None, user: Path | None = None
    ) -> Wrapper:
        """The wrapper of that name: the user's template, else the shipped one.

        Raises `ConfigError` for a template or options that can't be used.
        """
        return cls(Template.load(name, options, user))

    def of(self, caps: Caps) -> Wrapper:
        """The wrapper for a backend with these caps: this one for all."""
        return self

    def render(self, request: Request, caps: Caps) -> Prompt:
        """The prompt for a request, with the grammar of its answers where `caps` allow one.

        Raises `RequestError` for tools, schemas, grammars or messages that can't be used, and
        `ConfigError` for a template that fails.
        """
        # The list stays the same from turn to turn, whichever of the functions has to be called.
        many = not self.style.bare if request.parallel is None else request.parallel
        request = self._settled(request)
        appendix = self._appendix(request, parallel=many)
        held = self._held(request, caps)
        prefill = self._prefill(request, caps) if held is None else held.prefill
        text = self._written(request, appendix, prefill)
        # What the template itself began of the answer, its reader has to know.
        bare = text.removesuffix(prefill)
        if (begun := self._begun(bare)) and prefill:
            prefill = begun + self._ended(begun) + prefill
            text = bare.removesuffix(begun) + prefill
        elif begun:
            prefill = begun
            # Inside thoughts nothing is JSON yet.
            held = None
        elif self.style.begin and text.endswith(self.style.begin):
            prefill = prefill or self.style.begin
        lazy = self._lazy(request, caps, prefill)
        return Prompt(
            text=text,
            stop=(*self.spec.stop, *request.stop),
            grammar=self._grammar(request, caps, prefill, lazy),
            sampling=request.sampling,
            prefill=prefill,
            triggers=(self.style.opener.strip(),) if lazy else (),
            preserved=self._preserved,
            schema=None if held is None else held.schema,
        )

    def parts(self, request: Request, text: str) -> tuple[Part, ...]:
        """Which message, and which line of the template, wrote what of a request's prompt.

        Raises as `render` does.
        """
        many = not self.style.bare if request.parallel is None else request.parallel
        settled = self._settled(request)
        marked = Marks()
        found = self._writer.write(settled, self._appendix(settled, parallel=many), "", marked)
        bare, lines = marked.read(found)
        # What is trimmed or measured in a template may come out otherwise with marks in it.
        known = lines if text.startswith(bare) else []
        return parts_of(text, request.messages, known, self._writer.source(settled))

    def reader(self, request: Request, prompt: Prompt) -> Reader:
        """A reader for the answer to `prompt`; what the prompt began of it is read already."""
        request = self._settled(request)
        calls = bool(offered(request))
        live = prompt.grammar is not None and self._exact(request, prompt)
        reader = Reader(
            Task(
                style=self.style,
                reasoning=self.reasoning,
                thoughts=self.options.inner_thoughts,
                thoughts_key=self.spec.thoughts_key,
                tools=self._compiler.toolset(request) if calls else None,
                only=only(request) if calls else (),
                must_call=calls and request.tool_choice.forced,
                parallel=bool(request.parallel),
                checker=(
                    None if request.schema is None else self._compiler.checker(request.schema)
                ),
                live=live,
            ),
            grammar=prompt.grammar if request.grammar is None and not prompt.triggers else None,
        )
        reader.begin(prompt.prefill)
        return reader

    async def parse(
        self, deltas: AsyncGenerator[Delta, None], request: Request, prompt: Prompt
    ) -> AsyncGenerator[Delta, None]:
        """A backend's deltas → the client's: text, calls, notes, usage and the finish.

        Raises `OutputError` where the answer can't be used.
        """
        reader = self.reader(request, prompt)
        written: list[str] = []
        try:
            async with aclosing(deltas):
                async for delta in deltas:
                    if delta.note is not None:
                        yield Delta(note=delta.note)
                    if delta.text:
                        if request.grammar is not None:
                            written.append(delta.text)
                        for piece in reader.feed(delta.text):
                            yield piece
                    if delta.usage is not None:
                        yield Delta(usage=delta.usage)
                    if delta.finish is not None:
                        _check_grammar(request, "".join(written), delta.finish)
                        for piece in reader.finish(delta.finish):
                            yield piece
        except OutputError as error:
            # A whole answer that its grammar allows is never refused, but for what is relaxed.
            error.unconstrained = prompt.grammar is not None and self._broken(prompt, error.text)
            raise

    def parse_text(
        self, text: str, request: Request, prompt: Prompt, reason: Finish = "stop"
    ) -> Completion:
        """A whole answer. Raises `OutputError` where it can't be used."""
        reader = self.reader(request, prompt)
        return Completion.fold([*reader.feed(text), *reader.finish(reason)])

    def _written(self, request: Request, appendix: str, prefill: str) -> str:
        """The prompt's text, written once where it is measured before it is sent."""
        if not self._writer.steady:
            return self._writer.write(request, appendix, prefill)
        asked = request.messages, request.tools, offered(request) == (), appendix, prefill
        if self._last[0] != asked:
            self._last = asked, self._writer.write(request, appendix, prefill)
        return self._last[1]

    def _appendix(self, request: Request, *, parallel: bool) -> str:
        """What goes to the end of the system text."""
        if not offered(request):
            return _schema_instruction(request)
        self._compiler.toolset(request)
        if self._writer.lists_tools:
            return ""
        return self._compiler.listed(request, parallel=parallel)

    def _settled(self, request: Request) -> Request:
        """The request, with the style's habit where it does not say how many calls it wants."""
        if request.parallel is not None:
            return request
        many = not self.style.bare and request.tool_choice.name is None
        return msgspec.structs.replace(request, parallel=many)

    def _broken(self, prompt: Prompt, text: str) -> bool:
        """Whether an answer's text is not even the beginning of what the grammar allows."""
        if prompt.triggers or prompt.grammar is None:
            return False
        return not grammar.begins(prompt.grammar, text.removeprefix(prompt.prefill))

    def _grammar(self, request: Request, caps: Caps, prefill: str, lazy: bool) -> str | None:
        if request.grammar is not None:
            if not caps.grammar:
                raise RequestError(
                    "this model's backend can't be held by a grammar.", param="grammar"
                )
            grammar.check(request.grammar)
            return request.grammar
        if not caps.grammar:
            # Compiled all the same: a schema that is none is found here.
            self._compiler.grammar(request, "")
            return None
        made = self._compiler.grammar(request, *self._opening(prefill), lazy=lazy)
        return None if made is None else made.text

    def _held(self, request: Request, caps: Caps) -> Held | None:
        """What holds the answer to a schema, where the backend takes no grammar."""
        if caps.grammar or not caps.schema or request.grammar is not None:
            return None
        return self._compiler.held(request)

    def _exact(self, request: Request, prompt: Prompt) -> bool:
        """Whether the grammar of the answers holds everything that they are checked for."""
        if request.grammar is not None:
            return False
        opening = self._opening(prompt.prefill)
        made = self._compiler.grammar(request, *opening, lazy=bool(prompt.triggers))
        return made is not None and made.exact

    def _lazy(self, request: Request, caps: Caps, prefill: str) -> bool:
        """Whether a grammar has to hold only from where a call begins."""
        free = request.schema is None and request.grammar is None and not request.tool_choice.forced
        marked = not self.style.bare and re.search(r"\w", self.style.opener) is not None
        framed = bool(self.style.frames or self.style.begins or self.style.opens)
        return (
            caps.grammar
            and caps.triggers
            and bool(offered(request))
            and free
            and marked
            and not framed
            and not self._calls_begun(prefill)
        )

    def _opening(self, prefill: str) -> tuple[str, str]:
        """What the prompt began of the answer: of a call, and the mark that ends the thoughts."""
        for open_, close in self.reasoning:
            if prefill.strip() == open_.strip():
                return "", close
        return prefill, ""

    def _calls_begun(self, prefill: str) -> bool:
        return bool(self._opening(prefill)[0])

    def _begun(self, text: str) -> str:
        """The mark at the prompt's end that begins the model's thoughts, if there is one."""
        stripped = text.rstrip()
        for open_, _ in self.reasoning:
            if stripped.endswith(open_.rstrip()):
                return text[len(stripped) - len(open_.rstrip()) :]
        return ""

    def _ended(self, begun: str) -> str:
        """What ends the thoughts that a mark begins, before there are any."""
        close = next(close for open_, close in self.reasoning if open_.strip() == begun.strip())
        return f"\n{close}\n\n"

    def _prefill(self, request: Request, caps: Caps) -> str:
        """How much of a forced call the prompt writes itself."""
        wanted = self.options.opening_brace
        if not offered(request) or not request.tool_choice.forced:
            return ""
        if wanted == "never" or (wanted == "auto" and caps.grammar):
            return ""
        if not self.style.bare:
            mark = self.style.open + self.style.begin
            return "" if "{" in mark or self.style.frames else mark
        if self.spec.prefill == "brace":
            return "{"
        indent = self.options.indent
        start = "{\n" + " " * indent if indent else "{"
        if self.options.inner_thoughts == "beside":
            return f'{start}"{self.spec.thoughts_key}":'
        names = only(request)
        written = f" {msgspec.json.encode(names[0]).decode()}," if len(names) == 1 else ""
        return f'{start}"{self.style.function_key}":{written}'


def _check_grammar(request: Request, text: str, finish: Finish) -> None:
    """A client's own grammar is the only check of its answer: a backend may have ignored it."""
    if request.grammar is None or finish != "stop":
        return
    if not grammar.matches(request.grammar, text):
        raise OutputError("the answer does not match the request's grammar.", text=text)


def tokens(style: Style, reasoning: tuple[Pair, ...]) -> tuple[str, ...]:
    """What in the marks of a style may be a token of its own."""
    marks = [style.open, style.close, style.begin, style.middle, style.end, *style.parameter]
    marks += [*style.opens, *style.begins, *style.middles, *style.skip]
    marks += [mark for pair in (*style.frames, *reasoning) for mark in pair]
    return tuple(dict.fromkeys(token for mark in marks for token in _TOKEN.findall(mark)))


def _schema_instruction(request: Request) -> str:
    """What tells the model about the schema of its answer."""
    if request.schema is None:
        return ""
    if request.schema in (True, {}, {"type": "object"}):
        return "Answer with a JSON object."
    written = msgspec.json.format(msgspec.json.encode(request.schema), indent=0).decode()
    is_object = isinstance(request.schema, dict) and request.schema.get("type") == "object"
    what = "object" if is_object else "value"
    return f"Answer with a JSON {what} matching this schema: {written}"
