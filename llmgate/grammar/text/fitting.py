"""Writes expressions with a greatest length where counting every character would take too long.

The length is counted in blocks, and one that is begun counts as a whole: so the longest texts
that are allowed get lost, up to a block for each part that varies, and nothing that is too long
gets in. All is written as right-linear rules, one for each place in the expression and each
number of blocks that are left there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from llmgate.grammar.builder import Builder
from llmgate.grammar.text.automaton import determined
from llmgate.grammar.text.emission import of_automaton, of_tree, room
from llmgate.grammar.text.expressions import (
    EMPTY,
    Alt,
    Cat,
    Chars,
    Node,
    Repeat,
    TooLarge,
    cat,
    repeat,
)
from llmgate.grammar.text.machines import All, Counter, Positions
from llmgate.grammar.text.shapes import limited, never, nonempty, nullable, span
from llmgate.grammar.text.spelling import Spelling

# How many blocks there are, about, and at most where repetitions are counted by them too.
_BLOCKS: Final = 40
_MOST_BLOCKS: Final = 250
# A part that is never longer than this is paid for from the beginning, taken or not.
_SMALL: Final = 6
# The longest repeated thing that is a sort of character.
_UNIT: Final = 3
# A choice that is never longer than this is paid for as a whole where it is taken.
_ATOM: Final = 64
_MOST_UNROLLED: Final = 3
# An expression that is no longer than this needs no rule of its own.
_SHORT: Final = 20
# Units of one to three characters need blocks of at least so many.
_MIXED: Final = 8
_MOST_CHAINED: Final = 16


def fitted(builder: Builder, node: Node, most: int, spelling: Spelling, hint: str) -> str | None:
    """An expression for texts of a tree with at most `most` characters, nearly all of them.

    None if there are none. Raises `TooLarge`.
    """
    before = builder.snapshot()
    try:
        return _fitted(_Writer(builder, spelling, hint, node, most, _BLOCKS), node)
    except TooLarge:
        # Once more with coarser blocks.
        builder.restore(before)
        return _fitted(_Writer(builder, spelling, hint, node, most, _BLOCKS // 3), node)


def _fitted(writer: _Writer, node: Node) -> str | None:
    table = writer.table(node, _Table(writer, lambda _: ""))
    # From the least number of blocks on, since what is repeated refers to itself with fewer.
    for blocks in range(writer.blocks):
        for one in writer.tables:
            one.at(blocks)
    found = table.at(writer.blocks)
    return None if found is None else f"({found})"


class _Table:
    """Expressions for a part and all that follows it, by the number of blocks that are left."""

    def __init__(self, writer: _Writer, make: Callable[[int], str | None]) -> None:
        self._writer = writer
        self._make = make
        self._made: dict[int, str | None] = {}
        writer.tables.append(self)

    def at(self, blocks: int) -> str | None:
        """The expression; None if there are too few blocks."""
        if blocks < 0:
            return None
        if blocks not in self._made:
            self._made[blocks] = self._make(blocks)
        return self._made[blocks]

    def after(self, before: str | None, blocks: int) -> str | None:
        """Something and then this; None if either can't be."""
        text = None if before is None else self.at(blocks)
        return None if text is None else f"{before} {self._writer.named(text)}".strip()


class _Writer:
    def __init__(
        self,
        builder: Builder,
        spelling: Spelling,
        hint: str,
        node: Node,
        most: int,
        blocks: int,
    ) -> None:
        self.builder = builder
        self.spelling = spelling
        self.hint = hint
        self.left = room(builder)
        self.tables: list[_Table] = []
        # Tables live as long as this, so that their identities are keys.
        self.known: dict[tuple[Node, int, bool], _Table] = {}
        self.loops = 0
        left = most - _skeleton(node)
        if left < blocks:
            raise TooLarge("the expression leaves no room for its length")
        counts = _counts(node)
        # Where repetitions are counted, each of them costs at least so much; the runs besides
        # have one block each for nothing, so that they don't cost what was meant for these.
        self.counted = bool(counts)
        self.least_cost = 1
        if counts:
            self.least_cost = max(1, min(3 * blocks // min(counts), left // (2 * min(counts) + 4)))
        self.blocks = min(left // _MIXED, blocks)
        if counts:
            self.blocks = min((min(counts) + 1) * self.least_cost - 1, _MOST_BLOCKS)
        self.block = left // (self.blocks + (_runs(node) if counts else 0))
        if self.block < 1:
            raise TooLarge("there are more repetitions than characters")

    def named(self, text: str) -> str:
        """A short name for an expression."""
        if len(text) < _SHORT and " | " not in text:
            return text
        count = len(self.builder.rules)
        name = self.builder.rule(f"k{count}", text)
        if len(self.builder.rules) > count:
            self.left -= len(text) + len(name) + 6
            if self.left < 0:
                raise TooLarge("the expression would make the grammar too long")
        return name

    def tree(self, node: Node) -> str | None:
        """A part as it is."""
        if node == EMPTY:
            return ""
        text = None if never(node) else of_tree(self.builder, node, self.spelling, self.hint)
        return None if text is None else self.named(text)

    def cost(self, length: int) -> int:
        """How many blocks so many characters are."""
        return -(-length // self.block)

    def table(self, node: Node, rest: _Table) -> _Table:
        """The table for a part before `rest`: the same one for the same part."""
        key = (node, id(rest), self.loops > 0)
        if key not in self.known:
            self.known[key] = self.made(node, rest)
        return self.known[key]

    def made(self, node: Node, rest: _Table) -> _Table:
        high = span(node)[1]
        if high is not None and high <= _SMALL:
            return self.fixed(node, 0, rest)
        if isinstance(node, Cat):
            for part in reversed(node.parts):
                rest = self.table(part, rest)
            return rest
        if isinstance(node, Alt):
            ways = [_atom(part) for part in node.parts]
            tables = [
                self.table(part, rest) if most is None else self.fixed(part, self.cost(most), rest)
                for part, most in zip(node.parts, ways, strict=True)
            ]
            return _Table(self, lambda blocks: _ways([one.after("", blocks) for one in tables]))
        assert isinstance(node, Repeat)
        inner, least = node.node, node.least
        if nullable(inner):
            inner, least = nonempty(inner), 0
        further = None if node.most is None else node.most - least
        longest = span(inner)[1]
        if longest is not None and longest <= _UNIT:
            paid = least * longest <= _SMALL
            after = rest
            if further != 0:
                free = self.counted and not self.loops
                after = self.run(inner, longest, further, rest, free)
            first = repeat(inner, least, least)
            return self.fixed(first, 0 if paid else self.cost(least * longest), after)
        most = _atom(node)
        if least > _MOST_UNROLLED and most is not None:
            return self.fixed(node, self.cost(most), rest)
        if least > _MOST_UNROLLED:
            raise TooLarge("too many repetitions are necessary")
        table = rest
        if further is None or further > _MOST_UNROLLED:
            table = self.loop(inner, further, rest)
        else:
            for _ in range(further):
                table = _either(self, rest, [("", 0, self.table(inner, table))])
        return self.table(cat([inner] * least), table) if least else table

    def fixed(self, node: Node, cost: int, rest: _Table) -> _Table:
        """A part that is taken as it is."""
        text = self.tree(node)
        if not cost:
            return _alone(self, text, rest)
        return _Table(self, lambda blocks: rest.after(text, blocks - cost))

    def run(
        self, unit: Node, longest: int, most: int | None, rest: _Table, free: bool = False
    ) -> _Table:
        """Any number of characters, or of what is like them, the first block perhaps `free`."""
        block, over = self.block, None
        if longest > 1:
            if most is not None or block < 2 * longest:
                raise TooLarge("what is repeated varies too much in its length")
            full, over, part = self.chains(unit, longest)
        else:
            full, part = self.tree(repeat(unit, block, block)), None
            if block > 1:
                part = self.tree(repeat(unit, 1, block - 1))
        if most is None:
            ways: list[tuple[str | None, int, _Table]] = [(part, 1, rest)]
            table = _either(self, rest, ways)
            ways += [(full, 1, table), (over, 2, table)]
            return _either(self, rest, [(part, 0, rest), (full, 0, table)]) if free else table
        chained, last = divmod(most - 1, block)
        if chained > _MOST_CHAINED:
            raise TooLarge("too many characters are counted")
        end = self.tree(repeat(unit, 1, last + 1))
        table = _either(self, rest, [(end, 1, rest)])
        for _ in range(chained):
            table = _either(self, rest, [(part, 1, rest), (full, 1, table)])
        return table

    def chains(self, unit: Node, longest: int) -> tuple[str | None, str | None, str | None]:
        """Units of different lengths that are a block, that begin another one, and that are less.

        Each is a rule, which goes on with the one for what is left after the first unit.
        """
        lengths = [(size, limited(unit, size, size)) for size in range(1, longest + 1)]
        texts = [(size, self.tree(one)) for size, one in lengths if one is not None]
        full: list[str | None] = [""]
        over: list[str | None] = [None]
        part: list[str | None] = [""]
        # Where it is but little of a block, what another unit may be too long for stays unused.
        early = longest if self.block >= _MIXED * longest else 1
        for left in range(1, self.block + 1):
            fits = [(size, text) for size, text in texts if size <= left and text is not None]
            more = [text for size, text in texts if size > left]
            ways = [_row(text, full[left - size]) for size, text in fits]
            full.append("" if left < early else self.named_ways(ways))
            ways = [_row(text, over[left - size]) for size, text in fits]
            over.append(None if early > 1 else self.named_ways([*ways, *more]))
            ways = [_row(text, part[left - size]) for size, text in fits]
            part.append(self.named_ways([*ways, '""'] if left < self.block - 1 else ways))
        return full[-1], over[-1], part[-2]

    def named_ways(self, ways: list[str | None]) -> str | None:
        text = _ways(ways)
        return None if text is None else self.named(text)

    def loop(self, inner: Node, most: int | None, rest: _Table) -> _Table:
        """Something longer, again and again."""
        least = 1 if most is None else self.least_cost
        short = self.upto(inner, least * self.block)
        base = max(self.cost(_skeleton(inner)), least)
        longer: list[tuple[_Table, int]] = []
        table = _Table(
            self,
            lambda blocks: _ways(
                [
                    rest.after("", blocks),
                    table.after(short, blocks - least),
                    *(one.after("", blocks - cost) for one, cost in longer),
                ]
            ),
        )
        self.loops += 1
        longer += self.prepaid(inner, least, table) or [(self.table(inner, table), base)]
        self.loops -= 1
        return table

    def prepaid(self, inner: Node, cost: int, rest: _Table) -> list[tuple[_Table, int]]:
        """The way for one whose first run of characters is as long as what it costs at least."""
        parts = list(inner.parts) if isinstance(inner, Cat) else [inner]
        for number, part in enumerate(parts):
            if not isinstance(part, Repeat) or part.most is not None:
                continue
            if not isinstance(part.node, Chars):
                break
            free = cost * self.block - _skeleton(inner)
            first: list[Node] = [*parts[:number], repeat(part.node, free, free)]
            start = self.tree(cat(first))
            if free < part.least or any(span(one)[1] is None for one in parts[:number]):
                break
            others: list[Node] = [*parts[number + 1 :]]
            after = self.table(cat(others), rest)
            run = self.run(part.node, 1, None, after)
            return [(_alone(self, start, run), cost)]
        return []

    def upto(self, node: Node, most: int) -> str | None:
        """The texts of a part that have at most so many characters, exactly."""
        inner = limited(node, 1, most)
        if inner is not None:
            text = self.tree(inner)
        else:
            both = determined(All([Positions(node), Counter(1, most)]))
            text = of_automaton(self.builder, both, self.spelling, self.hint)
        return None if text is None else self.named(text)


def _alone(writer: _Writer, text: str | None, rest: _Table) -> _Table:
    return _Table(writer, lambda blocks: rest.after(text, blocks))


def _either(writer: _Writer, rest: _Table, ways: list[tuple[str | None, int, _Table]]) -> _Table:
    return _Table(
        writer,
        lambda blocks: _ways(
            [
                rest.after("", blocks),
                *(table.after(text, blocks - cost) for text, cost, table in ways),
            ]
        ),
    )


def _row(first: str, then: str | None) -> str | None:
    return None if then is None else f"{first} {then}".strip()


def _ways(found: list[str | None]) -> str | None:
    ways = list(dict.fromkeys(one or '""' for one in found if one is not None))
    return " | ".join(ways) if ways else None


def _skeleton(node: Node) -> int:
    """How many characters there are at most besides all that is counted in blocks."""
    high = span(node)[1]
    if high is not None and high <= _SMALL:
        return high
    if isinstance(node, Cat):
        return sum(_skeleton(part) for part in node.parts)
    if isinstance(node, Alt):
        return max(0 if _atom(part) else _skeleton(part) for part in node.parts)
    assert isinstance(node, Repeat)
    longest = span(node.node)[1]
    least = 0 if nullable(node.node) else node.least
    if longest is not None and longest <= _UNIT:
        return least * longest if least * longest <= _SMALL else 0
    if least > _MOST_UNROLLED and _atom(node):
        return 0
    return (least + _few(node)) * _skeleton(node.node)


def _atom(node: Node) -> int | None:
    """The greatest length of what is paid for as a whole where it is taken."""
    high = span(node)[1]
    return high if high is not None and _SMALL < high <= _ATOM else None


def _runs(node: Node) -> int:
    """How many runs of characters there are besides those that are repeated as well."""
    if isinstance(node, Cat):
        return sum(_runs(part) for part in node.parts)
    if isinstance(node, Alt):
        return max(_runs(part) for part in node.parts)
    longest = span(node)[1]
    assert isinstance(node, Chars | Repeat)
    if isinstance(node, Chars) or (longest is not None and longest <= _SMALL):
        return 0
    unit = span(node.node)[1]
    return 1 if unit is not None and unit <= _UNIT else _few(node) * _runs(node.node)


def _counts(node: Node) -> list[int]:
    """The greatest numbers of repetitions of what is no sort of character."""
    high = span(node)[1]
    if high is not None and high <= _SMALL:
        return []
    if isinstance(node, Cat):
        return [count for part in node.parts for count in _counts(part)]
    if isinstance(node, Alt):
        return [count for part in node.parts if not _atom(part) for count in _counts(part)]
    assert isinstance(node, Repeat)
    longest = span(node.node)[1]
    if (longest is not None and longest <= _UNIT) or (node.least > _MOST_UNROLLED and _atom(node)):
        return []
    own = [] if node.most is None or _few(node) else [node.most - node.least]
    return [count for count in own if count] + _counts(node.node)


def _few(node: Repeat) -> int:
    """How many more times something may be there, where that is so few that it is written out."""
    least = 0 if nullable(node.node) else node.least
    further = None if node.most is None else node.most - least
    return 0 if further is None or further > _MOST_UNROLLED else further
