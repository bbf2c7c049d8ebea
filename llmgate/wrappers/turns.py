"""Templates that write every message for itself: what they wrote of one is kept for later turns.

An agent's history is rendered before every answer, and all of it but the end is as it was. Where
a template's loop over the messages is seen to write each one from nothing but that message and the
options, its pieces are kept, and the text is put together from them: it is the same to the letter.
A loop that looks at anything else is rendered as it stands.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from jinja2 import nodes

# What the loop's body may name besides the message and what it sets itself.
_CONSTANT = "options"
_PIECES, _GIVEN, _MARK = "pieces_of_turns", "given_turns", "mark_of_turns"
# What may look outside of the turn, leave the loop, or give something else each time.
_ELSEWHERE = (
    nodes.Block,
    nodes.CallBlock,
    nodes.EvalContextModifier,
    nodes.Extends,
    nodes.FromImport,
    nodes.Import,
    nodes.Include,
    nodes.Macro,
    nodes.NSRef,
    nodes.Break,
    nodes.ContextReference,
    nodes.DerivedContextReference,
)
_NEW_EACH_TIME = frozenset({"random"})


class Turn(dict[str, Any]):
    """A message as a template sees it, and what the template wrote of it, once it has."""

    __slots__ = ("piece",)

    def __init__(self, view: Mapping[str, Any]) -> None:
        super().__init__(view)
        self.piece: str | None = None


class Turns:
    """A template whose turns are written one by one where that gives the same text."""

    def __init__(self, environment: jinja2.Environment, source: str) -> None:
        """Raises what jinja2 raises for a source that is no template."""
        tree = environment.parse(source)
        loop = _loop(tree)
        self._mark = f"\x00{secrets.token_hex(16)}\x00"
        self._body: jinja2.Template | None = None
        if loop is not None:
            index = tree.body.index(loop)
            self._body = _template(environment, [_body(loop)])
            tree.body[index] = _call(loop)
        self._template = _template(environment, tree.body)

    @property
    def apart(self) -> bool:
        """Whether its turns are written one by one."""
        return self._body is not None

    def render(self, **variables: Any) -> str:
        """The text; `messages` that are `Turn`s keep what was written of them."""
        if self._body is None:
            return self._template.render(**variables)

        def pieces(turns: Sequence[Any]) -> str:
            return self._pieces(turns, variables[_CONSTANT])

        return self._template.render(**variables, **{_PIECES: pieces})

    def _pieces(self, turns: Sequence[Any], options: Any) -> str:
        shown = [turn if isinstance(turn, Turn) else Turn(turn) for turn in turns]
        if missing := [turn for turn in shown if turn.piece is None]:
            for turn, piece in zip(missing, self._written(missing, options), strict=True):
                turn.piece = piece
        return "".join([turn.piece or "" for turn in shown])

    def _written(self, turns: Sequence[Turn], options: Any) -> list[str]:
        assert self._body is not None
        text = self._body.render({_GIVEN: turns, _MARK: self._mark, _CONSTANT: options})
        before, *pieces = text.split(self._mark)
        # Nobody knows the mark, so that no message can have it in it.
        assert not before and len(pieces) == len(turns)
        return pieces


def _loop(tree: nodes.Template) -> nodes.For | None:
    """The template's loop over the messages, if each turn of it stands for itself."""
    loops = [node for node in tree.body if isinstance(node, nodes.For)]
    found = [loop for loop in loops if _is_apart(loop, tree)]
    return found[0] if len(found) == 1 else None


def _is_apart(loop: nodes.For, tree: nodes.Template) -> bool:
    target = loop.target
    if not isinstance(target, nodes.Name) or loop.test or loop.else_ or loop.recursive:
        return False
    if "messages" not in {name.name for name in loop.iter.find_all((nodes.Name,))} | _own(loop.iter):
        return False
    body = nodes.Template(loop.body)
    if next(body.find_all(_ELSEWHERE), None) is not None:
        return False
    if any(found.name in _NEW_EACH_TIME for found in body.find_all(nodes.Filter)):
        return False
    names = list(body.find_all(nodes.Name))
    set_inside = {name.name for name in names if name.ctx != "load"}
    inside = {id(name) for name in names} | {id(target)}
    everywhere = {name.name for name in tree.find_all(nodes.Name) if id(name) not in inside}
    if set_inside & (everywhere | {target.name, _CONSTANT}):
        return False
    return {name.name for name in names} <= {target.name, _CONSTANT} | set_inside


def _own(node: nodes.Node) -> set[str]:
    return {node.name} if isinstance(node, nodes.Name) else set()


def _body(loop: nodes.For) -> nodes.For:
    """The loop over given messages, with a mark before each piece."""
    line = loop.lineno
    mark = nodes.Output([nodes.Name(_MARK, "load", lineno=line)], lineno=line)
    given = nodes.Name(_GIVEN, "load", lineno=line)
    return nodes.For(loop.target, given, [mark, *loop.body], [], None, False, lineno=line)


def _call(loop: nodes.For) -> nodes.Output:
    """What stands in the loop's place: the pieces of what it goes through."""
    line = loop.lineno
    pieces = nodes.Name(_PIECES, "load", lineno=line)
    call = nodes.Call(pieces, [loop.iter], [], None, None, lineno=line)
    return nodes.Output([call], lineno=line)


def _template(environment: jinja2.Environment, body: Sequence[nodes.Node]) -> jinja2.Template:
    tree = nodes.Template(list(body), lineno=1)
    tree.set_environment(environment)
    code = environment.compile(tree)
    return environment.template_class.from_code(environment, code, environment.make_globals(None))
