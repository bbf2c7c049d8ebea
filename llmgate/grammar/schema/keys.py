"""The keys that an object may have beside its named properties, and what belongs to each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from llmgate.grammar.builder import Builder, quote
from llmgate.grammar.dialect import JSON
from llmgate.grammar.schema.facts import Facts, Located

if TYPE_CHECKING:
    from llmgate.grammar.schema.document import Document
    from llmgate.grammar.text.language import Language

# Expressions that are found in every key, and in every key but the empty one.
_ANY: Final = frozenset(("", ".*", "^.*$", "^.*", ".*$", "^", "$", "^.*?$", "(.*)", "^(.*)$"))
# Characters that have no escapes of their own in JSON.
PLAIN: Final = re.compile(r"[ !#-.0-\[\]-~]*")
# Characters that JSON has to escape, or that are no characters at all.
_UNSPEAKABLE: Final = re.compile(r'["\\\x00-\x1F\ud800-\udfff]')
_CONTROL: Final = re.compile(r"[\x00-\x1F\x7F]")
_SHORT: Final = {
    '"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"
}  # fmt: skip
_WORD: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_CONTROLS: Final = '"\\\\\\x00-\\x1F'
# How deep parentheses go before a rule is made of them.
_DEEPEST: Final = 40
# How much of names that are long together is compared.
_BEGINNING: Final = 6
# Escapes and classes; and the plain text at an expression's anchors, without a last character
# that is repeated and a first one that belongs to an escape.
_ESCAPED: Final = re.compile(r"\\.|\[(?:[^\]\\]|\\.)*\]")
_FIRST: Final = re.compile(r"\^([A-Za-z0-9_:@ /-]*)(?![*?+{A-Za-z0-9_:@ /-])")
_LAST: Final = re.compile(r"(?<![\\A-Za-z0-9_:@ /-])([A-Za-z0-9_:@ /-]*)\$$")
# For each set of patterns that overlap there may be keys which match just these.
_MOST_OVERLAPPING: Final = 4

# Which keys, None for all that are not taken, and what their values must satisfy.
Cell = tuple["Language | None", tuple[Located, ...]]


class Keys:
    """What an object's facts say of keys: patterns, and the schema of all names."""

    def __init__(self, facts: Facts, document: Document) -> None:
        self.facts = facts
        self.document = document
        self.patterns: dict[str, Language | None] = {}
        # What everything begins and ends with that a pattern matches, and which match a name.
        self.ends: dict[str, tuple[str, str]] = {}
        self.matched: dict[str, frozenset[str]] = {}
        # Patterns that could not be translated: what they say is not enforced.
        self.inexact = False
        for part in facts.objects:
            for source in part.patterns:
                if source not in self.patterns:
                    self.patterns[source] = self._pattern(source)
                    self.ends[source] = _ends(source)
        self.names: Language | None = None
        for one in facts.names:
            self._names(one)

    def _pattern(self, source: str) -> Language | None:
        from llmgate.grammar.text.language import Language
        from llmgate.grammar.text.regex import Inexact

        if source in _ANY:
            return Language.everything()
        try:
            return Language.pattern(source)
        except Inexact as error:
            self._relax("patternProperties", f"{source!r} can't be held exactly: {error}")
            self.inexact = True
            return None

    def _names(self, one: Located) -> None:
        from llmgate.grammar.schema.names import language
        from llmgate.grammar.text.regex import Inexact

        if one[0] is True or one[0] == {}:
            return
        try:
            found = language((one,), self.document)
        except Inexact as error:
            self._relax("propertyNames", f"the names can't be held exactly: {error}")
            return
        self.names = found if self.names is None else self.names & found

    def _relax(self, keyword: str, why: str) -> None:
        self.facts.relax(keyword, why, f"{self.facts.path}/{keyword}")

    def value(self, name: str) -> tuple[Located, ...]:
        """All schemas that the value of the named property must satisfy."""
        if self.names is not None and name not in self.names:
            return ((False, self.facts.path),)
        if not self.patterns:
            return self.facts.value_of(name, {})
        matched = self._matched(name)
        matching = {source: source in matched for source in self.patterns}
        return self.facts.value_of(name, matching)

    def _matched(self, name: str) -> frozenset[str]:
        """The patterns that match a name."""
        found = self.matched.get(name)
        if found is None:
            found = self.matched[name] = frozenset(
                [
                    source
                    for source, language in self.patterns.items()
                    if name.startswith(self.ends[source][0])
                    and name.endswith(self.ends[source][1])
                    and language is not None
                    and name in language
                ]
            )
        return found

    def others(self, taken: list[str], closed: bool) -> list[Cell]:
        """The keys that are none of `taken`, by what their values must satisfy.

        With `closed` only those are there that the schema speaks of.
        """
        facts = self.facts
        closed = closed and self._declares()
        if not self.patterns and self.names is None:
            value = self._unmatched()
            if closed or any(schema is False for schema, _ in value):
                return []
            return [(None, value)]
        from llmgate.grammar.text.regex import Inexact

        try:
            return self._cells(taken, closed)
        except Inexact as error:
            keyword = "patternProperties" if self.patterns else "propertyNames"
            self._relax(keyword, f"keys are not told apart: {error}")
            return [(None, ((True, facts.path),))]

    def _declares(self) -> bool:
        """Whether keys are listed, and nothing is said about all others."""
        parts = self.facts.objects
        return (
            not self.facts.unevaluated
            and any(part.listed or part.patterns for part in parts)
            and all(part.additional is None for part in parts)
        )

    def _unmatched(self) -> tuple[Located, ...]:
        facts = self.facts
        found = [part.additional for part in facts.objects if part.additional is not None]
        return tuple(found or facts.unevaluated) or ((True, facts.path),)

    def _cells(self, taken: list[str], closed: bool) -> list[Cell]:
        from llmgate.grammar.text.regex import Inexact

        if self.inexact:
            raise Inexact("an expression is not translated")
        joined: dict[tuple[int, ...], tuple[Language, tuple[Located, ...]]] = {}
        # The names that are taken from each of them.
        hit: dict[tuple[int, ...], list[str]] = {}
        nothing = dict.fromkeys(self.patterns, False)
        for language, matched in self._parts():
            value = self._value(nothing | dict.fromkeys(matched, True), closed)
            if value is not None:
                key = tuple(sorted({id(schema) for schema, _ in value}))
                known = joined.get(key)
                joined[key] = (language if known is None else known[0] | language, value)
                found = [name for name in taken if self._matched(name) == frozenset(matched)]
                hit.setdefault(key, []).extend(found)
        return [
            (self._without(language, hit[key]), value) for key, (language, value) in joined.items()
        ]

    def _parts(self) -> Iterator[tuple[Language, tuple[str, ...]]]:
        """All keys, by which of the patterns match them. Raises `TooLarge`."""
        from llmgate.grammar.text.language import Language
        from llmgate.grammar.text.regex import TooLarge

        always = tuple(source for source in self.patterns if source in _ANY)
        sources = [source for source in self.patterns if source not in _ANY]
        rest = Language.everything() if self.names is None else self.names
        for group in self._overlapping(sources):
            if len(group) > _MOST_OVERLAPPING:
                raise TooLarge("too many patterns overlap")
            cells: list[tuple[Language, tuple[str, ...]]] = []
            for source in group:
                pattern = self.patterns[source]
                assert pattern is not None
                rest -= pattern
                own = pattern if self.names is None else pattern & self.names
                split = [(language & pattern, (*matched, source)) for language, matched in cells]
                split += [(language - pattern, matched) for language, matched in cells]
                for language, _ in cells:
                    own -= language
                cells = [*split, (own, (source,))]
                if len(group) > 1:
                    cells = [cell for cell in cells if not cell[0].is_empty()]
            yield from ((language, always + matched) for language, matched in cells)
        yield rest, always

    def _overlapping(self, sources: list[str]) -> list[list[str]]:
        """The patterns in groups, of which no two have a key in common."""
        groups: list[list[str]] = []
        for source in sources:
            near = [group for group in groups if any(self._meet(source, one) for one in group)]
            groups = [group for group in groups if group not in near]
            groups.append([one for group in near for one in group] + [source])
        return groups

    def _meet(self, left: str, right: str) -> bool:
        """Whether a key may match both patterns."""
        from llmgate.grammar.text.regex import TooLarge

        first, second = self.ends[left], self.ends[right]
        if not _compatible(first[0], second[0]) or not _compatible(first[1][::-1], second[1][::-1]):
            return False
        one, other = self.patterns[left], self.patterns[right]
        assert one is not None
        assert other is not None
        try:
            return not (one & other).is_empty()
        except TooLarge:
            return True

    def _without(self, language: Language, taken: list[str]) -> Language:
        from llmgate.grammar.text.language import Language

        hit = [name for name in taken if self.names is None or name in self.names]
        return language - Language.literals(hit) if hit else language

    def _value(self, matching: dict[str, bool], closed: bool) -> tuple[Located, ...] | None:
        facts = self.facts
        found: list[Located] = []
        declared = False
        for part in facts.objects:
            said = [one for source, one in part.patterns.items() if matching[source]]
            if not said and part.additional is not None:
                said = [part.additional]
            declared = declared or bool(said)
            found += said
        if not declared:
            if closed:
                return None
            found = list(facts.unevaluated)
        if any(schema is False for schema, _ in found):
            return None
        return tuple(one for one in found if one[0] is not True) or ((True, facts.path),)


def _ends(source: str) -> tuple[str, str]:
    """The texts that everything begins and ends with in which the expression is found."""
    depth = 0
    for char in _ESCAPED.sub("", source):
        depth += (char == "(") - (char == ")")
        if char == "|" and not depth:
            return "", ""
    first, last = _FIRST.match(source), _LAST.search(source)
    return (first[1] if first else ""), (last[1] if last else "")


def _compatible(left: str, right: str) -> bool:
    return left.startswith(right) or right.startswith(left)


def other_key(builder: Builder, names: list[str]) -> str:
    """An expression for the keys that are none of `names`, with their quotes.

    Of names that are long together, only those keys are taken that begin otherwise.
    """
    if not names:
        return builder.use("string")
    total = "".join(names)
    if builder.dialect is not JSON:
        from llmgate.grammar.text.language import Language

        return (~Language.literals(names)).json(builder, "other-key") or '""'
    deepest = _BEGINNING if len(total) > builder.most_key_characters else len(total)
    # What has to be escaped can't be spelled without the escapes that are left out.
    words = sorted(name for name in names if not _UNSPEAKABLE.search(name))
    plain = "" if PLAIN.fullmatch(total) else "".join(sorted(set(total)))
    apart = builder.memory.get(("apart", plain))
    if apart is None:
        apart = builder.memory["apart", plain] = _Apart(builder, plain)
    body = apart.rest(words, 0, deepest, _DEEPEST)
    return builder.rule("other-key", f'"\\"" {body} "\\""')


class _Apart:
    """Expressions for what differs from given texts, as it stands in a JSON string.

    Escapes are only taken where they can't spell a character of the texts.
    """

    def __init__(self, builder: Builder, special: str) -> None:
        self.builder = builder
        self.char = builder.use("char")
        self.chars = builder.rule("chars", f"{self.char}*")
        short = '"\\/bfnrt'
        coded = True
        if special:
            short = "".join(c for c in short if _SHORT[c] not in special)
            coded = special.isascii() and not _CONTROL.search(special)
        digit = builder.use("hex")
        ways = []
        if short:
            ways.append(f"[{short.replace(chr(92), chr(92) * 2)}]")
        if coded:
            # The codes of everything but the printable characters of ASCII.
            ways.append(
                f'"u" ("00" ([01] {digit} | "7" [fF] | [89a-fA-F] {digit})'
                f' | "0" [1-9a-fA-F] {digit} {digit} | {builder.use("beyond")})'
            )
        self.escape = builder.rule("escape", f'"\\\\" ({" | ".join(ways)})') if ways else ""
        self.special = special
        self.rules: dict[str, str] = {}
        # For one character: what differs from it, alone and before what may follow it.
        self.steps: dict[str, tuple[str, str]] = {}
        # What may follow where one word is left, since objects have many names in common.
        self.ends: dict[tuple[str, bool], str] = {}

    def other(self, taken: str) -> str:
        """A rule for everything that begins with none of these characters."""
        rule = self.rules.get(taken)
        if rule is None and not self.special and taken in _WORD:
            # No other rule's name has two hyphens.
            rule = self.rules[taken] = f"not--{taken}"
            first = f"[^{_CONTROLS}{taken}]"
            self.builder.define(rule, f"({first} | {self.escape}) {self.chars}")
        elif rule is None:
            if taken.isascii():
                first = f"[^{_CONTROLS}{''.join([_inside(char) for char in taken])}]"
            else:
                first = _all_but(taken)
            if self.escape:
                first = f"({first} | {self.escape})"
            rule = self.rules[taken] = self.builder.rule("apart", f"{first} {self.chars}")
        return rule

    def rest(self, words: list[str], start: int, deepest: int, nested: int) -> str:
        """What may follow where sorted words are equal up to `start`; it may be nothing."""
        if len(words) == 1:
            return self._one(words[0][start:deepest], len(words[0]) <= deepest)
        groups: dict[str, list[str]] = {}
        complete = False
        for word in words:
            if len(word) == start:
                complete = True
            else:
                groups.setdefault(word[start], []).append(word)
        ways = [self.other("".join(groups))]
        if start < deepest:
            for char, group in groups.items():
                below = self.rest(group, start + 1, deepest, nested - 1 or _DEEPEST)
                ways.append(f"{_literal(char)} {below}" if below else _literal(char))
        found = f"({' | '.join(ways)})" if complete else f"({' | '.join(ways)})?"
        return found if nested > 1 else self.builder.rule("other", found)

    def _one(self, word: str, whole: bool) -> str:
        """What may follow where only the end of one word is still to be told apart."""
        known = self.ends.get((word, whole))
        if known is not None:
            return known
        found = f"{self.char}+" if whole else ""
        steps = self.steps
        depth = 0
        for char in reversed(word):
            step = steps.get(char)
            if step is None:
                other = self.other(char)
                step = steps[char] = f"{other}?", f"({other} | {_literal(char)} "
            found = f"{step[1]}{found})?" if found else step[0]
            depth += 1
            if depth == _DEEPEST:
                found, depth = self.builder.rule("other", found), 0
        self.ends[word, whole] = found
        return found


def _literal(char: str) -> str:
    return f'"{char}"' if char in _WORD else quote(char)


def _all_but(taken: str) -> str:
    """A class without some characters of more than one byte, as ranges of those that are left.

    After the first byte of a character, llama.cpp refuses a negated class as soon as any
    excluded character begins with that byte.
    """
    start, parts = 0x20, []
    for code in sorted({ord('"'), ord("\\"), *map(ord, taken)}):
        if start < code:
            parts.append(f"\\U{start:08X}-\\U{code - 1:08X}")
        start = code + 1
    return f"[{''.join(parts)}\\U{start:08X}-\\U0010FFFF]"


def _inside(char: str) -> str:
    """A character as it stands in a class of GBNF."""
    if char.isalnum() and char.isascii():
        return char
    code = ord(char)
    return f"\\x{code:02X}" if code < 256 else f"\\U{code:08X}"
