"""Random schemas of all keywords: what an exact grammar writes is valid, what it takes too."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import jsonschema_rs
import pytest
from grammar_walk import Walker

from llmgate.errors import GrammarError
from llmgate.grammar import Grammar, Matcher, compile  # noqa: A004

KEYS = ["a", "b", "ab", "c", "x-1"]
PATTERNS = ["^a", "b$", "^[a-c]+$", "a|b", "^[a-z]{1,2}$", "1", "^x-"]
SCALARS = [None, True, False, 0, 1, 2, -1, 5, 12, 0.5, -2.5, 100, "", "a", "ab", "abc", "x-1"]


class Maker:
    """Makes schemas and values out of few names and numbers, so that they often meet."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def value(self, depth: int = 2) -> Any:
        random, kind = self.random, self.random.random()
        if depth and kind < 0.25:
            return {random.choice(KEYS): self.value(depth - 1) for _ in range(random.randint(0, 3))}
        if depth and kind < 0.45:
            return [self.value(depth - 1) for _ in range(random.randint(0, 3))]
        return random.choice(SCALARS)

    def schema(self, depth: int) -> Any:
        random = self.random
        if random.random() < 0.07:
            return random.choice([True, False, {}])
        out: dict[str, Any] = {}
        makers = [self.type, self.type, self.number, self.string, self.fixed]
        if depth:
            makers += [self.object, self.array, self.choice, self.condition]
        for make in random.sample(makers, random.randint(1, 3)):
            make(out, depth - 1)
        return out

    def some(self, out: dict[str, Any], chance: float, **keywords: list[Any]) -> None:
        for keyword, values in keywords.items():
            if self.random.random() < chance:
                out[keyword] = self.random.choice(values)

    def type(self, out: dict[str, Any], depth: int) -> None:
        kinds = ["object", "array", "string", "number", "integer", "boolean", "null"]
        out["type"] = self.random.choice([*kinds, ["object", "string"], ["number", "null"]])

    def number(self, out: dict[str, Any], depth: int) -> None:
        self.some(out, 0.3, minimum=[0, 1, -3, 0.5], maximum=[5, 12, 0, 2.5])
        self.some(out, 0.2, exclusiveMinimum=[0, -1, 0.25], exclusiveMaximum=[1, 10, 7.5])
        self.some(out, 0.3, multipleOf=[1, 2, 3, 0.5, 0.01, 10, 7])

    def string(self, out: dict[str, Any], depth: int) -> None:
        self.some(out, 0.5, pattern=PATTERNS)
        self.some(out, 0.3, minLength=[0, 1, 3], maxLength=[0, 2, 5], format=["date", "uuid"])

    def fixed(self, out: dict[str, Any], depth: int) -> None:
        out["enum"] = [self.value(1) for _ in range(self.random.randint(1, 4))]

    def object(self, out: dict[str, Any], depth: int) -> None:
        random = self.random
        out["properties"] = {name: self.schema(depth) for name in random.sample(KEYS, 2)}
        self.some(out, 0.4, required=[random.sample(KEYS, 2), random.sample(KEYS, 1)])
        self.some(out, 0.3, additionalProperties=[False, True, self.schema(depth)])
        self.some(out, 0.25, patternProperties=[{random.choice(PATTERNS): self.schema(depth)}])
        self.some(out, 0.1, propertyNames=[{"maxLength": 2}, {"not": {"const": "a"}}])
        self.some(out, 0.2, minProperties=[0, 1, 2], maxProperties=[0, 1, 3])
        self.some(out, 0.2, dependentRequired=[{random.choice(KEYS): random.sample(KEYS, 1)}])

    def array(self, out: dict[str, Any], depth: int) -> None:
        self.some(out, 0.6, items=[self.schema(depth)], prefixItems=[[self.schema(depth)]])
        self.some(out, 0.3, minItems=[0, 1, 2], maxItems=[0, 2, 4], contains=[self.schema(depth)])
        self.some(out, 0.2, maxContains=[1, 2], uniqueItems=[True])

    def choice(self, out: dict[str, Any], depth: int) -> None:
        keyword = self.random.choice(["anyOf", "oneOf", "oneOf", "allOf"])
        out[keyword] = [self.schema(depth) for _ in range(self.random.randint(1, 3))]

    def condition(self, out: dict[str, Any], depth: int) -> None:
        out["not"] = self.schema(depth)
        if self.random.random() < 0.6:
            del out["not"]
            out.update({"if": self.schema(depth), "then": self.schema(depth)})
            self.some(out, 0.5, **{"else": [self.schema(depth)]})


def compiled(schema: Any) -> Grammar | None:
    """The grammar; None where no value satisfies the schema."""
    try:
        return compile(schema)
    except GrammarError:
        return None


@pytest.mark.parametrize("seed", range(12))
def test_an_exact_grammar_takes_and_writes_only_what_is_valid(seed: int) -> None:
    maker, walks = Maker(seed), Random(seed)
    exact = 0
    for _ in range(25):
        schema = maker.schema(maker.random.choice([1, 2, 2, 3]))
        validator = jsonschema_rs.validator_for(schema, validate_formats=True)
        values = [maker.value() for _ in range(20)]
        grammar = compiled(schema)
        if grammar is None:
            assert not any(map(validator.is_valid, values)), schema
            continue
        if not grammar.exact:
            continue
        exact += 1
        matcher, walker = Matcher(grammar.text), Walker(grammar.text, 40)
        for value in values:
            taken = matcher.matches(json.dumps(value))
            assert not taken or validator.is_valid(value), (schema, value)
        for _ in range(8):
            text = walker.walk(walks)
            assert validator.is_valid(json.loads(text)), (schema, text)
    assert exact > 10
