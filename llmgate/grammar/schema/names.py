"""Which strings satisfy a schema, as a language: for the names of properties."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from llmgate.grammar.schema.collect import choose, collect
from llmgate.grammar.schema.evaluate import holds
from llmgate.grammar.schema.facts import Facts, Group, Located
from llmgate.grammar.schema.strings import allowed
from llmgate.grammar.text.language import Language
from llmgate.grammar.text.regex import Inexact, TooLarge

if TYPE_CHECKING:
    from llmgate.grammar.schema.document import Document

_MOST_CHOICES: Final = 64


def language(parts: tuple[Located, ...], document: Document) -> Language:
    """The strings that satisfy all of `parts`; raises `Inexact` where that can't be said."""
    facts = Facts(parts[0][1], parts)
    for part in parts:
        collect(facts, part, document)
    return combined(facts, document)


def combined(facts: Facts, document: Document) -> Language:
    """The strings that the facts allow, all choices included; raises `Inexact`."""
    return _of(facts, document, [_MOST_CHOICES])


def _of(facts: Facts, document: Document, left: list[int]) -> Language:
    if facts.never or (facts.types is not None and "string" not in facts.types):
        return Language.literals(())
    if facts.values is not None:
        texts = [value for value in facts.values if isinstance(value, str)]
        return Language.literals(
            text for text in texts if all(holds(text, part, document) for part in facts.parts)
        )
    if not facts.groups:
        if any(kind in ("", "string") for kind, _ in facts.relaxed):
            raise Inexact("it has parts that are not enforced")
        return allowed(facts)
    group = facts.groups[0]
    left[0] -= len(group.branches)
    if left[0] < 0:
        raise TooLarge("there are too many choices")
    ways = [
        _of(choose(facts, group, branch, document), document, left) for branch in group.branches
    ]
    return _together(group, ways)


def _together(group: Group, ways: list[Language]) -> Language:
    found: Any = Language.literals(())
    for number, way in enumerate(ways):
        if group.keyword == "oneOf":
            for other in ways[:number] + ways[number + 1 :]:
                way -= other
        found |= way
    result: Language = found
    return result
