"""Templates that write every message for itself: what they wrote of one is kept for later turns.

An agent's history is rendered before every answer, and all of it but the end is as it was. Where
a template's loop over the messages is seen to write each one from nothing but that message and
what never changes, its pieces are kept, and the text is put together from them: it is the same to
the letter. A loop that looks at anything else is rendered as it stands.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jinja2
from jinja2 import nodes

from llmgate.wrappers.parts import Marks

_PIECES, _GIVEN, _MARK = "pieces_of_turns", "given_turns", "mark_of_turns"
# A function that never returns: nothing is kept of what calls it.
_RAISES = "raise_exception"
# What may look outside of the turn, or leave the loop.
_ELSEWHERE = (
    nodes.Block,
    nodes.Break,
    nodes.CallBlock,
    nodes.ContextReference,
    nodes.DerivedContextReference,
    nodes.EvalContextModifier,
    nodes.Extends,
    nodes.FromImport,
    nodes.Import,
    nodes.Include,
    nodes.Macro,
    nodes.NSRef,
)
_NEW_EACH_TIME = "random"
# So many pieces are kept of messages that do not keep their own, and as many of earlier ones.
_MOST = 4096
_MOST_CHARACTERS = 8_000_000


class Turn(dict[str, Any]):
    """A message as a template sees it, and what the template wrote of it, once it has."""

    __slots__ = ("piece",)

    def __init__(self, view: Mapping[str, Any]) -> None:
        super().__init__(view)
        self.piece: str | None = None


class Pieces:
    """What stands in the loop's place: gives the pieces of the messages that it is given."""

    __slots__ = ("_joined",)

    def __init__(self, joined: Callable[[Iterable[Any]], str]) -> None:
        self._joined = joined

    def __call__(self, turns: Iterable[Any]) -> str:
        return self._joined(turns)


class Turns:
    """A template whose turns are written one by one where that gives the same text."""

    def __init__(
        self, environment: jinja2.Environment, source: str, constants: Sequence[str]
    ) -> None:
        """`constants` are the variables that are the same whenever `Turn`s are rendered.

        Raises what jinja2 raises for a source that is no template.
        """
        self._environment, self._source = environment, source
        self._constants = tuple(constants)
        tree = environment.parse(source)
        loop = _loop(tree, {*constants, _RAISES})
        # Nobody knows the mark, so that no message can have it in it.
        self._mark = f"\x00{secrets.token_hex(16)}\x00"
        self._body: jinja2.Template | None = None
        self._young: dict[Any, str] = {}
        self._old: dict[Any, str] = {}
        self._size = 0
        if loop is not None:
            index = next(i for i, node in enumerate(tree.body) if node is loop)
            tree.body[index] = _call(loop)
            self._body = _template(environment, [_alone(loop)])
        self._template = _template(environment, tree.body)

    @property
    def apart(self) -> bool:
        """Whether its turns are written one by one."""
        return self._body is not None

    def marked(self, marks: Marks) -> jinja2.Template:
        """The template with marks in it, and nothing kept."""
        tree = self._environment.parse(self._source)
        marks.add(tree)
        return _template(self._environment, tree.body)

    def render(self, variables: Mapping[str, Any]) -> str:
        """The text; `messages` that are `Turn`s keep what was written of them."""
        if self._body is None:
            return self._template.render(variables)
        constants = {name: variables[name] for name in self._constants if name in variables}

        pieces = Pieces(lambda turns: "".join(self._pieces(list(turns), constants)))
        return self._template.render({**variables, _PIECES: pieces})

    def _pieces(self, turns: Sequence[Any], constants: Mapping[str, Any]) -> list[str]:
        pieces = [self._kept(turn, constants) for turn in turns]
        missing = [number for number, piece in enumerate(pieces) if piece is None]
        if missing:
            written = self._written([turns[number] for number in missing], constants)
            for number, piece in zip(missing, written, strict=True):
                pieces[number] = piece
                self._keep(turns[number], constants, piece)
        return [piece for piece in pieces if piece is not None]

    def _written(self, turns: Sequence[Any], constants: Mapping[str, Any]) -> list[str]:
        assert self._body is not None
        text = self._body.render({**constants, _GIVEN: turns, _MARK: self._mark})
        before, *pieces = text.split(self._mark)
        assert not before
        return pieces

    def _kept(self, turn: Any, constants: Mapping[str, Any]) -> str | None:
        if isinstance(turn, Turn):
            return turn.piece
        key = _key(turn, constants)
        if key is None:
            return None
        piece = self._young.get(key)
        if piece is None and (piece := self._old.get(key)) is not None:
            self._keep(turn, constants, piece)
        return piece

    def _keep(self, turn: Any, constants: Mapping[str, Any], piece: str) -> None:
        if isinstance(turn, Turn):
            turn.piece = piece
            return
        key = _key(turn, constants)
        if key is None:
            return
        if len(self._young) >= _MOST or self._size + len(piece) > _MOST_CHARACTERS:
            self._old, self._young, self._size = self._young, {}, 0
        self._young[key] = piece
        self._size += len(piece)


def _key(turn: Any, constants: Mapping[str, Any]) -> Any:
    """What a message is known by, None for one that is more than a few texts."""
    if type(turn) is not dict:
        return None
    parts = (*turn.items(), *constants.items())
    plain = all(value is None or type(value) is str for _, value in parts)
    return parts if plain else None


def _loop(tree: nodes.Template, known: set[str]) -> nodes.For | None:
    """The template's loop over the messages, if each turn of it stands for itself."""
    loops = [node for node in tree.body if isinstance(node, nodes.For)]
    found = [loop for loop in loops if _is_apart(loop, tree, known)]
    return found[0] if len(found) == 1 else None


def _is_apart(loop: nodes.For, tree: nodes.Template, known: set[str]) -> bool:
    target = loop.target
    if not isinstance(target, nodes.Name) or loop.test or loop.else_ or loop.recursive:
        return False
    if "messages" not in _names(loop.iter):
        return False
    body = nodes.Template(loop.body)
    if next(body.find_all(_ELSEWHERE), None) is not None:
        return False
    if any(found.name == _NEW_EACH_TIME for found in body.find_all(nodes.Filter)):
        return False
    names = list(body.find_all(nodes.Name))
    set_inside = {name.name for name in names if name.ctx != "load"}
    inside = {id(name) for name in names} | {id(target)}
    outside = {name.name for name in tree.find_all(nodes.Name) if id(name) not in inside}
    own = {target.name, *known}
    if set_inside & (outside | own) or target.name in known:
        return False
    return {name.name for name in names} <= own | set_inside


def _names(node: nodes.Node) -> set[str]:
    own = {node.name} if isinstance(node, nodes.Name) else set()
    return own | {name.name for name in node.find_all(nodes.Name)}


def _alone(loop: nodes.For) -> nodes.For:
    """The loop over given messages, with the mark before each piece."""
    line = loop.lineno
    mark = nodes.Output([nodes.Name(_MARK, "load", lineno=line)], lineno=line)
    given = nodes.Name(_GIVEN, "load", lineno=line)
    return nodes.For(loop.target, given, [mark, *loop.body], [], None, False, lineno=line)


def _call(loop: nodes.For) -> nodes.Output:
    """The call of `Pieces` with what the loop goes through."""
    line = loop.lineno
    pieces = nodes.Name(_PIECES, "load", lineno=line)
    call = nodes.Call(pieces, [loop.iter], [], None, None, lineno=line)
    return nodes.Output([call], lineno=line)


def _template(environment: jinja2.Environment, body: Sequence[nodes.Node]) -> jinja2.Template:
    tree = nodes.Template(list(body), lineno=1)
    tree.set_environment(environment)
    code = environment.compile(tree)
    # A plain dict: jinja2 goes through all of it for each text.
    return environment.template_class.from_code(environment, code, dict(environment.globals))
