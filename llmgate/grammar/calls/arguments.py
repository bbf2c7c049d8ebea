"""The arguments of one tool in a style."""

from __future__ import annotations

from typing import Final

from llmgate.errors import GrammarError
from llmgate.grammar.builder import Builder
from llmgate.grammar.calls.layout import Keywords, Layout, Row
from llmgate.grammar.calls.parameters import Parameters
from llmgate.grammar.dialect import GEMMA, JSON, PYTHON, Dialect
from llmgate.grammar.schema.compiler import Compiler
from llmgate.grammar.values import Relaxed
from llmgate.styles import Style
from llmgate.types import Tool

_DIALECTS: Final[dict[str, Dialect]] = {"python": PYTHON, "gemma": GEMMA}


class Arguments:
    """Makes the expression for one tool's arguments: an object, whatever else its schema says.

    Optional parameters whose names a style can't write are left out.
    """

    def __init__(self, builder: Builder, style: Style, tool: Tool, lead: str | None) -> None:
        """`lead` is the key of the string that comes first, unless it is one of the tool's own."""
        self._builder = builder
        self._style = style
        self._tool = tool
        self._schema = _schema(tool)
        own = self._schema.get("properties")
        self._lead = None if isinstance(own, dict) and lead in own else lead
        self.relaxed: dict[Relaxed, None] = {}

    def expression(self) -> str:
        """Raises `GrammarError` naming the tool or the path in its schema."""
        builder, tool, before = self._builder, self._tool, self._builder.dialect
        compiler = Compiler(builder, self._schema, f"tools/{tool.name}/parameters")
        if self._style.arguments == "json":
            found = compiler.compile(tool.name, arguments=True, lead=self._lead)
        else:
            builder.dialect = _DIALECTS.get(self._style.arguments, JSON)
            layout = self._layout()
            try:
                found = compiler.compile(tool.name, arguments=True, lead=self._lead, layout=layout)
            except GrammarError as error:
                raise self._unwritable(layout) or error from error
            finally:
                builder.dialect = before
        self.relaxed.update(compiler.relaxed)
        return found

    def _layout(self) -> Layout:
        if self._style.arguments == "python":
            return Keywords(self._builder)
        if self._style.arguments == "gemma":
            return Row(self._builder)
        return Parameters(self._builder, self._style)

    def _unwritable(self, layout: Layout) -> GrammarError | None:
        """What is wrong with a required parameter's name, if that is why there is no grammar."""
        needed = self._schema.get("required")
        names = needed if isinstance(needed, list) else ()
        for name in names:
            if isinstance(name, str) and not layout.writable(name):
                return GrammarError(
                    f"tool {self._tool.name!r}: the call style {self._style.name!r} can't write "
                    f"the required parameter {name!r}.",
                    hint="Use letters, digits and '_' only.",
                    param="tools",
                )
        return None


def _schema(tool: Tool) -> dict[str, object]:
    parameters = tool.parameters
    if not isinstance(parameters, dict):
        raise GrammarError(
            f"tool {tool.name!r}: its parameters must be a JSON Schema of an object, "
            f"not {parameters!r}.",
            param="tools",
        )
    # A tool that says nothing about its parameters has none.
    schema = parameters or {"type": "object", "properties": {}}
    kind = schema.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise GrammarError(
            f"tool {tool.name!r}: its parameters must be an object, not of type {kind!r}.",
            hint="Wrap the value: {'type': 'object', 'properties': {'value': …}}.",
            param="tools",
        )
    return schema
