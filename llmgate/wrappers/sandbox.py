"""The sandbox of models' chat templates: transformers' environment, with a budget for each run.

It is compiled into the templates where what costs something is counted: the turns of loops, calls,
operations, filters, everything that is written out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from types import BuiltinMethodType
from typing import Any, cast

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment
from jinja2.utils import Namespace

from llmgate.wrappers import budget
from llmgate.wrappers.turns import Pieces

# What changes a list or a dict without letting it grow while it is read.
_CHANGES: dict[type, frozenset[str]] = {
    list: frozenset({"append", "insert", "pop", "remove", "extend", "reverse"}),
    dict: frozenset({"pop", "setdefault", "update"}),
}
_CALL = 4  # what a call costs
# Of no use in a prompt, and slow on texts that are made for it.
_NO_FILTERS = ("striptags", "urlize", "xmlattr", "pprint")
# Filters that look at what a value contains no further than at its items.
_SHALLOW = frozenset({
    "length", "count", "first", "last", "default", "d", "items", "list", "map", "select",
    "selectattr", "reject", "rejectattr", "reverse", "attr", "batch", "slice", "random",
})  # fmt: skip
_COMPARING = ("==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan", "ge", ">=", "<", "lt",
              "lessthan", "<=", "le", "in")  # fmt: skip


class _Generator(CodeGenerator):
    """Compiles templates so that what costs something is counted where it happens."""

    def visit_For(self, node: nodes.For, frame: Frame) -> None:
        node.body.insert(0, _step(node.body))
        super().visit_For(node, frame)

    def visit_Macro(self, node: nodes.Macro, frame: Frame) -> None:
        node.body.insert(0, _step(node.body))
        super().visit_Macro(node, frame)

    def visit_CallBlock(self, node: nodes.CallBlock, frame: Frame) -> None:
        node.body.insert(0, _step(node.body))
        super().visit_CallBlock(node, frame)

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:
        if isinstance(node.node, nodes.EnvironmentAttribute):
            self.visit(node.node, frame)
            self.write("(")
            self.visit(node.args[0], frame)
            self.write(")")
        else:
            super().visit_Call(node, frame, forward_caller=forward_caller)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:
        self.write("(")
        self._compared(node.expr, frame)
        for operand in node.ops:
            self.visit(operand, frame)
        self.write(")")

    def visit_Operand(self, node: nodes.Operand, frame: Frame) -> None:
        names = {"eq": "==", "ne": "!=", "gt": ">", "gteq": ">=", "lt": "<", "lteq": "<=",
                 "in": "in", "notin": "not in"}  # fmt: skip
        self.write(f" {names[node.op]} ")
        self._compared(node.expr, frame, inside=node.op in ("in", "notin"))

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        if not isinstance(node.arg, nodes.Slice):
            super().visit_Getitem(node, frame)
            return
        self.write("environment.sliced(")
        self.visit(node.node, frame)
        self.write(", slice(")
        for part in (node.arg.start, node.arg.stop, node.arg.step):
            self.visit(nodes.Const(None) if part is None else part, frame)
            self.write(", ")
        self.write("))")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self.write("{")
        for pair in node.items:
            self._compared(pair.key, frame)
            self.write(": ")
            self.visit(pair.value, frame)
            self.write(", ")
        self.write("}")

    def _compared(self, node: nodes.Node, frame: Frame, *, inside: bool = False) -> None:
        if isinstance(node, nodes.Const):
            self.visit(node, frame)
            return
        self.write("environment.searched(" if inside else "environment.compared(")
        self.visit(node, frame)
        self.write(")")


def _step(body: list[nodes.Node]) -> nodes.Node:
    """The statement that counts a turn through `body`, and the plain text that it writes."""
    length = sum(len(data.data) for node in body for data in _data(node))
    call = nodes.Call(
        nodes.EnvironmentAttribute("step"), [nodes.Const(1 + (length >> 3))], [], None, None
    )
    return nodes.ExprStmt(call)


def _data(node: nodes.Node) -> list[nodes.TemplateData]:
    found = list(node.find_all(nodes.TemplateData))
    return [*found, node] if isinstance(node, nodes.TemplateData) else found


class _Generation(Extension):
    """`{% generation %}` marks what the model wrote, for training; here it is only text."""

    tags = {"generation"}  # noqa: RUF012 - the base class's own declaration

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


class ModelSandbox(SandboxedEnvironment):
    """The environment of transformers' chat templates, with a budget for each run."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", _Generation],
            finalize=_finalized,
            cache_size=0,
        )
        del self.globals["lipsum"]
        self.filters["tojson"] = _tojson
        # Not one of transformers', but some models' templates use it.
        self.filters["from_json"] = json.loads
        for name in _NO_FILTERS:
            del self.filters[name]
        for name, function in self.filters.items():
            self.filters[name] = _counted_filter(name, function)
        for name in _COMPARING:
            self.tests[name] = _counted_test(cast("Callable[..., Any]", self.tests[name]))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Attributes without an underscore, and of lists and dicts those changes that end."""
        if not super().is_safe_attribute(obj, attr, value):
            return False
        if attr in _CHANGES.get(type(obj), ()):
            return True
        return ImmutableSandboxedEnvironment.is_safe_attribute(_IMMUTABLE, obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`str.format`, looked at before it makes a text."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None
        inner = wrapped

        def form(*args: Any, **kwargs: Any) -> str:
            budget.check_format(value.__self__, *args, *kwargs.values())
            return str(budget.current().value(inner(*args, **kwargs)))

        return form

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call what a template calls, counted."""
        left = budget.current()
        left.spend(_CALL)
        # What is rendered for the pieces of turns is counted there.
        if isinstance(obj, Macro | Pieces) or obj is Namespace:
            return left.value(super().call(context, obj, *args, **kwargs))
        args = tuple(budget.listed(value) for value in args)
        for value in (*args, *kwargs.values()):
            left.walk(value)
        if isinstance(obj, BuiltinMethodType):
            budget.check_method(obj.__self__, obj.__name__, [*args, *kwargs.values()])
            left.walk(obj.__self__) if isinstance(obj.__self__, str) else None
        return left.value(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An operation, looked at and counted."""
        budget.check_operation(operator, left, right)
        return budget.current().value(super().call_binop(context, operator, left, right))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """An attribute, or the item of that name.

        What is given to a template are plain dicts, which have hardly an attribute: not to look
        for one first is most of what a long conversation would cost.
        """
        if type(obj) is dict and attribute not in _OF_DICTS:
            if attribute in obj:
                return obj[attribute]
            return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """An item; a list as its key would be looked through."""
        if type(argument) is tuple:
            budget.current().walk(argument)
        return super().getitem(obj, argument)

    # What the compiled templates call.

    def step(self, units: int) -> None:
        budget.current().spend(units)

    def joined(self, parts: tuple[Any, ...]) -> str:
        """What `a ~ b` stands for."""
        left = budget.current()
        left.allow(sum(map(left.walk, parts)))
        return "".join(map(str, parts))

    def sliced(self, value: Any, part: slice) -> Any:
        return budget.current().value(value[part])

    def compared(self, value: Any) -> Any:
        if isinstance(value, str):
            budget.current().spend(1 + (len(value) >> 6))
        else:
            budget.current().walk(value)
        return value

    def searched(self, value: Any) -> Any:
        """What something is looked for in: for a dict one look is enough."""
        if isinstance(value, dict):
            budget.current().spend(1)
            return value
        return self.compared(budget.listed(value))


_IMMUTABLE = ImmutableSandboxedEnvironment()
_OF_DICTS = frozenset(dir(dict))


def _counted_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    skipped = 1 if hasattr(function, "jinja_pass_arg") else 0
    shallow = name in _SHALLOW

    def counted(*args: Any, **kwargs: Any) -> Any:
        left = budget.current()
        left.spend(_CALL)
        if not shallow:
            args = (*args[:skipped], *map(budget.listed, args[skipped:]))
            for value in args[skipped:]:
                left.walk(value)
        value, *others = args[skipped:]
        budget.check_filter(name, value, [*others, *kwargs.values()])
        return left.value(function(*args, **kwargs))

    for mark in ("jinja_pass_arg", "jinja_async_variant"):
        if hasattr(function, mark):
            setattr(counted, mark, getattr(function, mark))
    return counted


def _counted_test(function: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any) -> Any:
        args = tuple(map(budget.listed, args))
        for value in args:
            budget.current().walk(value)
        return function(*args)

    return counted


def _finalized(value: Any) -> Any:
    """A value that is to be written out, counted."""
    left = budget.current()
    left.allow(left.walk(value))
    return value


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """The filter that models' templates count on."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
