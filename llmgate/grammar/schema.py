"""JSON Schema → GBNF: walks a schema and makes a rule for every distinct part of it."""

from __future__ import annotations

from typing import Any, Final

from llmgate.errors import GrammarError
from llmgate.grammar import numbers
from llmgate.grammar.arrays import array
from llmgate.grammar.builder import Builder
from llmgate.grammar.check import productive
from llmgate.grammar.collect import choose, collect
from llmgate.grammar.disjoint import disjoint
from llmgate.grammar.facts import TYPES, Facts, Located, fits
from llmgate.grammar.gbnf import Program
from llmgate.grammar.objects import object_
from llmgate.grammar.refs import References
from llmgate.grammar.strings import enumeration, string
from llmgate.grammar.values import Grammar, Relaxed

_Key = frozenset[int]
# Python's own limit of 1,000 calls is reached at about 150.
_DEEPEST: Final = 100
# Choices inside choices multiply when they are merged; from here on they are left out.
_MOST_BRANCHES: Final = 2_000
# Keywords beside `$ref` that change nothing about which values are right.
_REMARKS: Final = frozenset(
    (
        "$comment", "$defs", "$id", "$schema", "contentEncoding", "contentMediaType",
        "definitions", "default", "deprecated", "description", "example", "examples", "nullable",
        "readOnly", "title", "writeOnly",
    )
)  # fmt: skip


def compile(schema: Any, *, name: str = "root") -> Grammar:  # noqa: A001
    """The GBNF of the JSON texts that satisfy a schema; `name` is the name of its first rule.

    Raises `GrammarError` for what is no schema or has no value, naming the place, and
    `Unsupported` for references to other documents.
    """
    builder = Builder(name)
    compiler = Compiler(builder, schema, "#")
    builder.define(name, compiler.compile("answer"))
    return Grammar(builder.text(), tuple(compiler.relaxed))


class Compiler:
    """Makes the rules for one schema document in a builder that may hold others too."""

    def __init__(self, builder: Builder, document: Any, base: str) -> None:
        self.builder = builder
        self.start: Located = (document, base)
        self.references = References(document, base)
        # What is left to the validator, each thing once.
        self.relaxed: dict[Relaxed, None] = {}
        self._branches = 0
        # By the identities of the schemas that hold together: their rules, and the names of
        # those being made now that are already referred to.
        self._done: dict[_Key, str | None] = {}
        self._doing: dict[_Key, str | None] = {}
        self._recursive: dict[_Key, str] = {}
        # Recursions that have no finite value.
        self._dead: set[_Key] = set()
        # The schemas being compiled since the last object or array was entered: one of them
        # inside itself adds nothing to its own meaning.
        self._around: set[_Key] = set()
        self._cuts: set[_Key] = set()

    def compile(self, hint: str, *, arguments: bool = False, lead: str | None = None) -> str:
        """An expression for the whole document; raises `GrammarError` if nothing satisfies it.

        With `arguments` it is an object in any case, in which a string with the key `lead`
        comes first.
        """
        while True:
            before = self.builder.snapshot()
            try:
                start = (self.start,)
                found = self._arguments(hint, lead) if arguments else self.node(start, hint)
            except RecursionError:
                raise _too_deep(self.start[1]) from None
            dead = self._without_end() if self._recursive else set()
            if not dead:
                break
            # Once more without the parts that could only be nested for ever.
            self._dead |= dead
            self.builder.restore(before)
            self.relaxed.clear()
            self._done.clear()
            self._recursive.clear()
        if found is None:
            raise GrammarError(f"{self.start[1]}: no value satisfies this schema.")
        return found

    def _arguments(self, hint: str, lead: str | None) -> str | None:
        facts = Facts(self.start[1])
        collect(facts, self.start, self.references)
        facts.restrict(frozenset(("object",)))
        facts.lead = lead
        return self._choose(facts, hint)

    def node(self, parts: tuple[Located, ...], hint: str) -> str | None:
        """A rule's name or a literal for what satisfies all of `parts`; None if nothing does."""
        if len(parts) == 1:
            schema = parts[0][0]
            if schema is True or schema == {}:
                return self.builder.use("value")
        key = frozenset([id(schema) for schema, _ in parts if schema is not True])
        if key in self._done:
            return self._done[key]
        if key in self._dead:
            return None
        if key in self._doing:
            return self._again(key, hint)
        if len(self._doing) >= _DEEPEST:
            raise _too_deep(parts[0][1])
        self._doing[key] = None
        self._around.add(key)
        found = self._compile(parts, hint)
        self._around.discard(key)
        name = self._doing.pop(key)
        if name is not None:
            # A rule that only refers to itself stands for having no value.
            self.builder.define(name, name if found is None else found)
            self._recursive[key] = found = name
        self._cuts.discard(key)
        if not self._cuts:
            self._done[key] = found
        return found

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
        program = Program().read("".join(f"{a} ::= {b}\n" for a, b in self.builder.rules.items()))
        ends = productive(program)
        return {key for key, name in self._recursive.items() if program.index[name] not in ends}

    def _compile(self, parts: tuple[Located, ...], hint: str) -> str | None:
        schema, path = parts[0]
        if len(parts) == 1 and isinstance(schema, dict) and "$ref" in schema:
            others = schema.keys() - _REMARKS
            if len(others) == 1 or self.references.lone:
                target = self.references.resolve(schema["$ref"], f"{path}/$ref")
                return self.node((target,), target[1].rpartition("/")[2])
        facts = Facts(path)
        for part in parts:
            collect(facts, part, self.references)
        return self._choose(facts, hint)

    def _choose(self, facts: Facts, hint: str) -> str | None:
        """Go through the branches of the first choice that is left, with the rest merged in."""
        if facts.never:
            return None
        if not facts.groups:
            return self._plain(facts, hint)
        group, *others = facts.groups
        said = facts.hints or facts.relaxed or facts.types or facts.values is not None
        alone = not (others or said or facts.lead)
        if not alone:
            self._branches += len(group.branches)
            if self._branches > _MOST_BRANCHES:
                facts.relax(group.keyword, "there are too many combinations", group.path)
                facts.groups = others
                return self._choose(facts, hint)
        found: list[str] = []
        taken: list[Located] = []
        for branch in group.branches:
            if alone:
                way = self.node((branch,), hint)
            else:
                way = self._choose(choose(facts, group, branch, self.references), hint)
            if way is not None:
                found.append(way)
                taken.append(branch)
        if group.keyword == "oneOf" and not disjoint(taken, self.references, alone):
            self._leave(Relaxed(group.path, "oneOf", "more than one branch may hold"))
        return self._either(found, hint)

    def _plain(self, facts: Facts, hint: str) -> str | None:
        if facts.values is not None:
            return self._values(facts, hint)
        types = facts.possible()
        found: list[str] = []
        if len(types) == len(TYPES) - 1 and not facts.hints:
            found.append(self.builder.use("value"))
        else:
            for name in types:
                way = self._of_type(facts, name, hint)
                if way is not None:
                    found.append(way)
        for kind, entry in facts.relaxed:
            if not kind or kind in types or (kind == "number" and "integer" in types):
                self._leave(entry)
        return self._either(found, hint)

    def _of_type(self, facts: Facts, name: str, hint: str) -> str | None:
        builder = self.builder
        if name in ("null", "boolean"):
            return builder.use(name)
        if name == "string":
            return string(builder, facts, hint)
        if name in ("integer", "number"):
            whole = name == "integer" or facts.integral
            return numbers.number(builder, facts, hint, whole)
        around, self._around = self._around, set()
        make = object_ if name == "object" else array
        way = make(builder, facts, hint, self.node)
        self._around = around
        return way

    def _values(self, facts: Facts, hint: str) -> str | None:
        assert facts.values is not None
        values = [value for value in facts.values if fits(value, facts)]
        if not values:
            return None
        for _, entry in facts.relaxed:
            self._leave(entry)
        return enumeration(self.builder, values, hint)

    def _either(self, found: list[str], hint: str) -> str | None:
        ways = list(dict.fromkeys(found))
        if len(ways) < 2:
            return ways[0] if ways else None
        return self.builder.rule(hint, " | ".join(ways))

    def _leave(self, entry: Relaxed) -> None:
        self.relaxed[entry] = None


def _too_deep(path: str) -> GrammarError:
    return GrammarError(
        f"{path}: the schema is nested more than {_DEEPEST} deep.",
        hint="Make it flatter, or let it refer to its own parts with '$ref'.",
    )
