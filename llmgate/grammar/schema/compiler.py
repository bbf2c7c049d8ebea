"""JSON Schema → GBNF: walks a schema and makes a rule for every distinct part of it."""

from __future__ import annotations

from typing import Any, Final

from llmgate.errors import GrammarError
from llmgate.grammar.builder import Builder
from llmgate.grammar.calls.layout import Layout
from llmgate.grammar.schema import fixed, numbers
from llmgate.grammar.schema.arrays import array
from llmgate.grammar.schema.clashes import hopeless, settle
from llmgate.grammar.schema.collect import choose, collect
from llmgate.grammar.schema.document import Document
from llmgate.grammar.schema.effort import EFFORTS, SHARED, Effort, TooMuch
from llmgate.grammar.schema.endless import endless
from llmgate.grammar.schema.exclusive import leave_out, separated
from llmgate.grammar.schema.facts import TYPES, Facts, Group, Located
from llmgate.grammar.schema.objects import object_
from llmgate.grammar.schema.strings import enumeration, string
from llmgate.grammar.text.regex import Inexact
from llmgate.grammar.values import Grammar, Relaxed

_Key = frozenset[int]
# Python's own limit of 1,000 calls is reached at about 150.
_DEEPEST: Final = 100
_LARGEST: Final = 64 * 1024
# What is written where some of it may not be used in the end, which is seen only then.
_UNTIDY: Final = 96 * 1024
# How many combinations are merged where not everything is held in any case.
_HASTY_BRANCHES: Final = 60


# Keywords beside `$ref` that change nothing about which values are right.
_REMARKS: Final = frozenset(
    (
        "$comment", "$defs", "$id", "$schema", "contentEncoding", "contentMediaType",
        "definitions", "default", "deprecated", "description", "example", "examples", "nullable",
        "readOnly", "title", "writeOnly",
    )
)  # fmt: skip
# All there is about a plain list of values.
_LISTING: Final = frozenset(("enum", "const", "type"))
_SAYING_NOTHING: Final = _REMARKS | {"type"}
_TEXTS: Final = frozenset(("string",))
_SIMPLE: Final = frozenset(("string", "integer", "number", "boolean", "null"))


def compile(schema: Any, *, name: str = "root") -> Grammar:  # noqa: A001
    """The GBNF of the JSON texts that satisfy a schema; `name` is the name of its first rule.

    Raises `GrammarError` for what is no schema or has no value, naming the place, and
    `Unsupported` for references to other documents.
    """
    try:
        return _compiled(schema, name, implied=True)
    except NoValue:
        return _compiled(schema, name, implied=False)


class NoValue(GrammarError):
    """A schema that no value satisfies."""


def _compiled(schema: Any, name: str, *, implied: bool) -> Grammar:
    document = Document(schema, "#", implied=implied)
    for effort in EFFORTS:
        builder = Builder(name)
        compiler = Compiler(builder, schema, "#", effort=effort, document=document)
        try:
            builder.define(name, compiler.compile("answer"))
        except TooMuch:
            continue
        text = builder.text()
        if len(text) <= _LARGEST:
            break
    return Grammar(text, tuple(compiler.relaxed))


class Compiler:
    """Makes the rules for one schema document in a builder that may hold others too.

    With `closed`, objects whose properties are listed have no others, and arrays whose items
    are given by position no more, unless the schema speaks of them. A `document` that was
    compiled before knows what it means already.
    """

    def __init__(
        self,
        builder: Builder,
        schema: Any,
        base: str,
        *,
        closed: bool = False,
        effort: Effort = SHARED,
        document: Document | None = None,
    ) -> None:
        self.builder = builder
        self.start: Located = (schema, base)
        self.document = document or Document(schema, base)
        self.document.plainly = effort.plainly
        self.closed = closed
        self.effort = effort
        builder.most_key_characters = effort.characters
        builder.states = effort.states
        builder.hasty = False
        self._branches = 0
        # What is left to the validator, as it is found; what turns out to be in no rule is
        # taken back.
        self._left: list[Relaxed] = []
        # By the identities of the schemas that hold together: their rules with what those
        # leave, and the names of those being made now that are already referred to.
        self._done: dict[_Key, tuple[str | None, tuple[Relaxed, ...]]] = {}
        self._doing: dict[_Key, str | None] = {}
        self._recursive: dict[_Key, str] = {}
        self._strings: dict[tuple[object, ...], tuple[str | None, object]] = {}
        # Recursions that have no finite value.
        self._dead: set[_Key] = set()
        # The schemas being compiled since the last object or array was entered: one of them
        # inside itself adds nothing to its own meaning.
        self._around: set[_Key] = set()
        self._cuts: set[_Key] = set()

    @property
    def relaxed(self) -> dict[Relaxed, None]:
        """What is left to the validator, each thing once."""
        return dict.fromkeys(self._left)

    def compile(
        self,
        hint: str,
        *,
        arguments: bool = False,
        lead: str | None = None,
        layout: Layout | None = None,
    ) -> str:
        """An expression for the whole document; raises `GrammarError` if nothing satisfies it.

        With `arguments` it is an object in any case, in which a string with the key `lead`
        comes first, and what the schema does not speak of is not written; `layout` is how it is
        written, if not as JSON.
        """
        self.closed = self.closed or arguments
        while True:
            before = self.builder.snapshot()
            try:
                start = (self.start,)
                found = self._arguments(hint, lead, layout) if arguments else self.node(start, hint)
            except RecursionError:
                raise _too_deep(self.start[1]) from None
            dead = self._without_end() if self._recursive else set()
            if not dead:
                break
            # Once more without the parts that could only be nested for ever.
            self._dead |= dead
            self.builder.restore(before)
            self._left.clear()
            self._done.clear()
            self._strings.clear()
            self._recursive.clear()
        if found is None:
            raise NoValue(f"{self.start[1]}: no value satisfies this schema.")
        return found

    def _arguments(self, hint: str, lead: str | None, layout: Layout | None) -> str | None:
        facts = Facts(self.start[1], (self.start,))
        collect(facts, self.start, self.document)
        facts.restrict(frozenset(("object",)))
        facts.lead, facts.layout = lead, layout
        return self._choose(facts, hint)

    def node(self, parts: tuple[Located, ...], hint: str) -> str | None:
        """A rule's name or a literal for what satisfies all of `parts`; None if nothing does."""
        if len(parts) == 1:
            schema = parts[0][0]
            if schema is True or schema == {}:
                return self.builder.use("value")
            if isinstance(schema, dict):
                kind = schema.get("type")
                if isinstance(kind, str) and kind in _SIMPLE:
                    for keyword in schema:
                        if keyword not in _SAYING_NOTHING:
                            break
                    else:
                        return self.builder.use(kind)
        key = frozenset([id(schema) for schema, _ in parts if schema is not True])
        done = self._done.get(key)
        if done is not None:
            self._left += done[1]
            return done[0]
        if key in self._dead:
            return None
        if key in self._doing:
            return self._again(key, hint)
        if len(self._doing) >= _DEEPEST:
            raise _too_deep(parts[0][1])
        if self.effort.enough is not None and self._too_much_written():
            raise TooMuch
        before = len(self._left)
        self._doing[key] = None
        self._around.add(key)
        found = self._compile(parts, hint)
        self._around.discard(key)
        name = self._doing.pop(key)
        if name is not None:
            # A rule that only refers to itself stands for having no value.
            self.builder.define(name, name if found is None else found)
            self._recursive[key] = found = name
        if found is None:
            del self._left[before:]
            self.builder.untidy = True
        self._cuts.discard(key)
        if not self._cuts:
            left = dict.fromkeys(self._left[before:]) if len(self._left) > before else ()
            self._done[key] = found, tuple(left)
        return found

    def _too_much_written(self) -> bool:
        return self.builder.written > (_UNTIDY if self.builder.untidy else _LARGEST)

    def finite(self, parts: tuple[Located, ...]) -> list[object] | None:
        """The values that satisfy all of `parts`, where they are few and known."""
        return fixed.finite(parts, self.document)

    def _again(self, key: _Key, hint: str) -> str | None:
        """The rule that is being made, for use inside itself."""
        if key in self._around:
            self._cuts.add(key)
            return None
        name = self._doing[key]
        if name is None:
            name = self._doing[key] = self.builder.name(hint)
        return name

    def _without_end(self) -> set[_Key]:
        dead = endless(self.builder.rules, set(self._recursive.values()))
        return {key for key, name in self._recursive.items() if name in dead}

    def _compile(self, parts: tuple[Located, ...], hint: str) -> str | None:
        schema, path = parts[0]
        if len(parts) == 1 and isinstance(schema, dict) and "$ref" in schema:
            others = schema.keys() - _REMARKS
            if len(others) == 1 or self.document.lone:
                target = self.document.resolve(schema, "$ref", path)
                return self.node((target,), target[1].rpartition("/")[2])
        facts = Facts(path, parts)
        for part in parts:
            collect(facts, part, self.document)
        return self._choose(facts, hint)

    def _choose(self, facts: Facts, hint: str) -> str | None:
        """Go through the branches of the first choice that is left, with the rest merged in."""
        if facts.never:
            return None
        if facts.values is not None:
            return self._values(facts, hint)
        if not facts.groups:
            return self._plain(facts, hint)
        if len(facts.groups) > 1:
            settle(facts, self.document)
            if facts.never or facts.values is not None or not facts.groups:
                return self._choose(facts, hint)
        if facts.types == _TEXTS and not facts.split and not self.builder.dialect.raw:
            known, text = self._texts(facts, hint)
            if known:
                return text
        group, *others = facts.groups
        alone = not (others or facts.said())
        if not alone:
            self._branches += len(group.branches)
            most = self.effort.branches
            if self._branches > (min(most, _HASTY_BRANCHES) if self.builder.hasty else most):
                if self.effort.enough is not None and self._branches > self.effort.enough:
                    raise TooMuch
                facts.relax(group.keyword, "there are too many combinations", group.path)
                facts.groups = others
                return self._choose(facts, hint)
        before = len(self._left)
        if group.keyword == "oneOf" and len(group.branches) > 1:
            found = self._exclusive(facts, group, alone, hint)
        elif alone:
            found = [self.node((branch,), hint) for branch in group.branches]
        else:
            found = [
                self._merged(choose(facts, group, branch, self.document), hint)
                for branch in group.branches
            ]
        ways = [way for way in found if way is not None]
        if not ways:
            del self._left[before:]
        return self._either(ways, hint)

    def _merged(self, facts: Facts, hint: str) -> str | None:
        if hopeless(facts, self.document):
            return None
        before = len(self._left)
        way = self._choose(facts, hint)
        if way is None:
            del self._left[before:]
            self.builder.untidy = True
        return way

    def _exclusive(self, facts: Facts, group: Group, alone: bool, hint: str) -> list[str | None]:
        """The branches of a `oneOf`, each without the values for which another holds too."""
        found: list[str | None] = []
        for branch, merged, beside in separated(facts, group, self.document):
            if alone and not beside:
                found.append(self.node((branch,), hint))
                continue
            if any(one.complete and not one.ways for one in beside):
                # Whatever satisfies this branch satisfies another one too.
                continue
            said = [one for one in beside if one.ways]
            complete = all(one.complete for one in beside)
            ways = [[one.natural for one in said]]
            if any(len(one.natural) < len(one.ways) for one in said):
                ways.append([one.ways for one in said])
            if not complete:
                # Where what can be said of the other branches leaves nothing of this one.
                ways.append([])
            way = None
            for refused in ways:
                left = leave_out(merged, group, refused, self.document)
                way = self._merged(left, hint)
                if way is not None:
                    break
            if way is not None and len(refused) < len(beside):
                self._left.append(Relaxed(group.path, "oneOf", "more than one branch may hold"))
            found.append(way)
        return found

    def _plain(self, facts: Facts, hint: str) -> str | None:
        types = facts.possible()
        found: list[str] = []
        if len(types) == len(TYPES) - 1 and not facts.said():
            found.append(self.builder.use("value"))
        else:
            for name in types:
                way = self._of_type(facts, name, hint)
                if way is not None:
                    found.append(way)
        if found:
            for kind, entry in facts.relaxed:
                if not kind or kind in types or (kind == "number" and "integer" in types):
                    self._left.append(entry)
        return self._either(found, hint)

    def _of_type(self, facts: Facts, name: str, hint: str) -> str | None:
        builder = self.builder
        if name in ("null", "boolean"):
            return fixed.constants(builder, facts, name, hint)
        if name == "string":
            return self._string(facts, hint)
        if name in ("integer", "number"):
            return numbers.number(builder, facts, hint, name == "integer")
        if facts.unequal:
            fixed.leave_out(facts, name)
        around, self._around = self._around, set()
        make = object_ if name == "object" else array
        way = make(self, facts, hint)
        self._around = around
        return way

    def _texts(self, facts: Facts, hint: str) -> tuple[bool, str | None]:
        """Strings with all their choices as one expression; False where that can't be."""
        from llmgate.grammar.schema.names import combined

        try:
            return True, combined(facts, self.document).json(self.builder, hint)
        except Inexact:
            facts.split = True
            return False, None

    def _string(self, facts: Facts, hint: str) -> str | None:
        least, most = facts.least.get("Length"), facts.most.get("Length")
        if not (facts.texts or facts.formats or least or most is not None):
            return self.builder.use("string")
        # Equal limits are written out once; what they are made of is kept, with its identity.
        parts = tuple([language.part for _, _, language in facts.texts])
        limits = (id(self.builder.dialect), *facts.formats, "", least, most, *map(id, parts))
        known = self._strings.get(limits)
        if known is None:
            relaxed = len(facts.relaxed)
            found = string(self.builder, facts, hint)
            if len(facts.relaxed) == relaxed:
                self._strings[limits] = found, (parts, self.builder.dialect)
            return found
        return known[0]

    def _values(self, facts: Facts, hint: str) -> str | None:
        """The fixed values that satisfy all schemas."""
        assert facts.values is not None
        if len(facts.parts) == 1 and facts.parts[0][0].keys() - _REMARKS <= _LISTING:
            kept = fixed.typed(facts)
            return enumeration(self.builder, kept, hint) if kept else None
        kept, left = fixed.kept(facts, self.document)
        self._left += left
        return enumeration(self.builder, kept, hint) if kept else None

    def _either(self, found: list[str], hint: str) -> str | None:
        ways = list(dict.fromkeys(found))
        if len(ways) < 2:
            return ways[0] if ways else None
        return self.builder.rule(hint, " | ".join(ways))


def _too_deep(path: str) -> GrammarError:
    return GrammarError(
        f"{path}: the schema is nested more than {_DEEPEST} deep.",
        hint="Make it flatter, or let it refer to its own parts with '$ref'.",
    )
