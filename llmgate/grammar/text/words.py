"""GBNF for fixed texts that share their beginnings, and for all texts but some."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from llmgate.grammar.builder import Builder, quote
from llmgate.grammar.text import charsets
from llmgate.grammar.text.expressions import TooLarge
from llmgate.grammar.text.spelling import Spelling

# Texts from this many on share their beginnings, so that an engine follows few of them at once.
_MANY: Final = 16
_DEEPEST_TRIE: Final = 50
# How deep the parentheses for one character after the other go before a rule is made of them.
_DEEPEST: Final = 24
# Texts are told apart character by character, so more would make the grammar too long.
_MOST_CHARACTERS: Final = 1_600


def any_of(forms: Iterable[str]) -> str | None:
    """An expression for these texts as they stand; None if there are none."""
    words = list(dict.fromkeys(forms))
    if not words:
        return None
    if len(words) < _MANY:
        return _either([quote(word) for word in words])
    return _trie(sorted(words), 0, _DEEPEST_TRIE)


def none_of(builder: Builder, texts: Iterable[str], spelling: Spelling) -> str:
    """An expression for all texts but these. Raises `TooLarge`."""
    nodes: list[dict[str, int]] = [{}]
    complete: set[int] = set()
    for text in texts:
        # No text has half of a surrogate pair in it, so none has to be kept out.
        if any("\ud800" <= char <= "\udfff" for char in text):
            continue
        at = 0
        for char in text:
            if char not in nodes[at]:
                nodes[at][char] = len(nodes)
                nodes.append({})
            at = nodes[at][char]
        complete.add(at)
    if len(nodes) > _MOST_CHARACTERS:
        raise TooLarge("too many texts are excluded")
    every = spelling.chars(builder, charsets.ALL)
    assert every is not None
    rest = builder.rule("chars", f"{every}*")
    depths = [0] * len(nodes)
    made = [""] * len(nodes)
    # A child's number is above its parent's.
    for number in range(len(nodes) - 1, -1, -1):
        node = nodes[number]
        if not node:
            made[number] = f"{every}+" if number in complete else rest
            continue
        ways = [_apart(builder, node, spelling, rest)]
        for first, below in node.items():
            form = spelling.single(ord(first))
            one = quote(form) if form else spelling.chars(builder, charsets.of([ord(first)]))
            if one is not None:
                ways.append(f"{one} {made[below]}")
        body = f"({' | '.join(ways)})" + ("" if number in complete else "?")
        depths[number] = max(depths[below] for below in node.values()) + 1
        if number and depths[number] > _DEEPEST:
            body, depths[number] = builder.rule(f"k{len(builder.rules)}", body), 0
        made[number] = body
    return made[0]


def _apart(builder: Builder, taken: Iterable[str], spelling: Spelling, rest: str) -> str:
    """A rule for every text that starts with none of the characters."""
    codes = charsets.of(ord(char) for char in taken)
    first = spelling.chars(builder, charsets.complement(codes))
    assert first is not None
    return builder.rule("apart", f"{first} {rest}")


def _trie(words: list[str], start: int, deepest: int) -> str:
    """An expression for sorted, different words, which are equal up to `start`."""
    if not deepest:
        return _either([quote(word[start:]) for word in words])
    groups: dict[str, list[str]] = {}
    for word in words:
        groups.setdefault(word[start : start + 1], []).append(word)
    ways = []
    for group in groups.values():
        first, last = group[0], group[-1]
        if len(group) == 1:
            ways.append(quote(first[start:]))
            continue
        shared, end = start, min(len(first), len(last))
        while shared < end and first[shared] == last[shared]:
            shared += 1
        ways.append(f"{quote(first[start:shared])} {_trie(group, shared, deepest - 1)}")
    return _either(ways)


def _either(ways: list[str]) -> str:
    return ways[0] if len(ways) == 1 else f"({' | '.join(ways)})"
