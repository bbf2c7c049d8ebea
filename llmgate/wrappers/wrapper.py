"""A wrapper: one template that writes conversations out, and the reading of what comes back."""

from __future__ import annotations

import datetime
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import msgspec
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmgate import grammar, resources
from llmgate.errors import ConfigError, LlmgateError, RequestError
from llmgate.types import Caps, Completion, Delta, Finish, Prompt, Request
from llmgate.wrappers.answers import Task
from llmgate.wrappers.conversation import views
from llmgate.wrappers.reader import Reader
from llmgate.wrappers.spec import Options, Spec, merge_options, read_spec
from llmgate.wrappers.tools import Compiler, offered


class Wrapper:
    """Renders requests and reads answers for one template with one set of options."""

    def __init__(self, name: str, source: str, options: Mapping[str, Any] | None = None) -> None:
        """Raises `ConfigError` for a template or options that can't be used."""
        self.name = name
        self.spec: Spec = read_spec(name, source)
        self.options: Options
        self.options, self._own_options = merge_options(name, self.spec, dict(options or {}))
        self._compiler = Compiler(self.spec, self.options)
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError(
                f"the template {name!r} has an error in line {error.lineno}: {error.message}."
            ) from error

    @classmethod
    def load(
        cls, name: str, options: Mapping[str, Any] | None = None, user: Path | None = None
    ) -> Wrapper:
        """The wrapper of that name: the user's template, else the shipped one."""
        return cls(name, resources.read("templates", name, user), options)

    def render(self, request: Request, caps: Caps) -> Prompt:
        """The prompt for a request, with the grammar of its answers where `caps` allow one.

        Raises `RequestError` for tools, schemas, grammars or messages that can't be used, and
        `ConfigError` for a template that fails.
        """
        prefill = self._prefill(request, caps)
        tools = offered(request)
        if tools:
            self._compiler.toolset(request)
        appendix = self._compiler.listed(request) if tools else _schema_instruction(request)
        text = self._write(
            messages=views(request.messages, appendix, self.spec, self.options),
            tools=[msgspec.structs.asdict(tool) for tool in tools],
            options={**msgspec.structs.asdict(self.options), **self._own_options},
            prefill=prefill,
            add_generation_prompt=True,
        )
        return Prompt(
            text=text,
            stop=(*self.spec.stop, *request.stop),
            grammar=self._grammar(request, caps, prefill),
            sampling=request.sampling,
            prefill=prefill,
        )

    def reader(self, request: Request, prompt: Prompt) -> Reader:
        """A reader for the answer to `prompt`; what the prompt began of it is read already."""
        calls = bool(offered(request))
        live = prompt.grammar is not None and self._exact(request, prompt.prefill)
        reader = Reader(
            Task(
                spec=self.spec,
                options=self.options,
                tools=self._compiler.toolset(request) if calls else None,
                only=request.tool_choice.name if calls else None,
                must_call=calls and request.tool_choice.forced,
                parallel=request.parallel,
                checker=(
                    None if request.schema is None else self._compiler.checker(request.schema)
                ),
                live=live,
            ),
            grammar=prompt.grammar if request.grammar is None else None,
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
        async with aclosing(deltas):
            async for delta in deltas:
                if delta.text:
                    for piece in reader.feed(delta.text):
                        yield piece
                if delta.usage is not None:
                    yield Delta(usage=delta.usage)
                if delta.finish is not None:
                    for piece in reader.finish(delta.finish):
                        yield piece

    def parse_text(
        self, text: str, request: Request, prompt: Prompt, reason: Finish = "stop"
    ) -> Completion:
        """A whole answer. Raises `OutputError` where it can't be used."""
        reader = self.reader(request, prompt)
        return Completion.fold([*reader.feed(text), *reader.finish(reason)])

    def _grammar(self, request: Request, caps: Caps, prefill: str) -> str | None:
        if request.grammar is not None:
            if not caps.grammar:
                raise RequestError(
                    "this model's backend can't be held by a grammar.", param="grammar"
                )
            grammar.check(request.grammar)
            return request.grammar
        # Compiled even where the backend can't use it: a schema that is none is found here.
        made = self._compiler.grammar(request, prefill)
        return made.text if made is not None and caps.grammar else None

    def _exact(self, request: Request, prefill: str) -> bool:
        """Whether the grammar of the answers holds everything that they are checked for."""
        if request.grammar is not None:
            return False
        made = self._compiler.grammar(request, prefill)
        return made is not None and made.exact

    def _prefill(self, request: Request, caps: Caps) -> str:
        """How much of a forced call the prompt writes itself."""
        wanted = self.options.opening_brace
        if not offered(request) or not request.tool_choice.forced:
            return ""
        if wanted == "never" or (wanted == "auto" and caps.grammar):
            return ""
        if self.spec.prefill == "brace":
            return "{"
        indent = self.options.indent
        start = "{\n" + " " * indent if indent else "{"
        if self.options.inner_thoughts == "beside":
            return f'{start}"{self.spec.thoughts_key}":'
        name = request.tool_choice.name
        written = f" {msgspec.json.encode(name).decode()}," if name else ""
        return f'{start}"{self.spec.function_key}":{written}'

    def _write(self, **variables: Any) -> str:
        try:
            return self._template.render(**variables)
        except LlmgateError:
            raise
        except jinja2.TemplateError as error:
            raise ConfigError(f"the template {self.name!r} failed: {error}.") from error
        except Exception as error:  # a template is foreign code: it may raise anything
            kind = type(error).__name__
            raise ConfigError(f"the template {self.name!r} failed: {kind}: {error}.") from error


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


def _environment() -> jinja2.Environment:
    """Templates run sandboxed, with the names that chat templates of this field expect."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.loopcontrols"],
        autoescape=False,  # prompts are text, not HTML
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _tojson(value: Any, indent: int | None = None) -> str:
    """Jinja's own filter escapes HTML and non-ASCII text, which a model should not see."""
    encoded = msgspec.json.encode(value)
    return msgspec.json.format(encoded, indent=indent or 0).decode()


def _raise_exception(message: str) -> NoReturn:
    raise RequestError(f"the model's template refuses this conversation: {message}")


def _strftime_now(form: str) -> str:
    return datetime.datetime.now().astimezone().strftime(form)
