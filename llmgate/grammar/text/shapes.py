"""Rewrites trees of regular expressions: no anchors, nothing empty repeated, lengths folded in."""

from __future__ import annotations

from functools import lru_cache

from llmgate.grammar.text.expressions import (
    ANYTHING,
    EMPTY,
    NEVER,
    Alt,
    Assertion,
    Cat,
    Chars,
    Node,
    Repeat,
    alt,
    cat,
    repeat,
)

# Where `^` or `$` is inside of something that is repeated a few times, it is written out.
_MOST_COPIES = 8
# A tree with more nodes than this has become too large by that.
_LARGEST = 1_000
# How many combinations of lengths may stand beside each other.
_MOST_WAYS = 16
# By whether the input has to begin and to end with it.
_Sides = dict[tuple[bool, bool], Node]


@lru_cache(maxsize=2_048)
def whole(node: Node) -> Node | None:
    """The tree for all texts in which the expression is found; None if it can't be one tree.

    The result has no assertions and matches the text from its beginning to its end.
    """
    sides = _sides(node)
    if sides is None:
        return None
    ways = []
    for (start, end), inner in sides.items():
        if start and end:
            ways.append(inner)
            continue
        if not start:
            inner = _trimmed(inner, first=True)
        if not end:
            inner = _trimmed(inner, first=False)
        if nullable(inner):
            return ANYTHING
        ways.append(cat([*([] if start else [ANYTHING]), inner, *([] if end else [ANYTHING])]))
    return alt(ways)


def asserts(node: Node) -> bool:
    """Whether there is an assertion in the tree."""
    if isinstance(node, Repeat):
        return asserts(node.node)
    if isinstance(node, Cat | Alt):
        return any(asserts(part) for part in node.parts)
    return isinstance(node, Assertion)


def _sides(node: Node) -> _Sides | None:
    """The parts of a tree that are tied to the input's beginning or end, without the anchors."""
    if isinstance(node, Assertion):
        if node.kind == "start" and node.holds:
            return {(True, False): EMPTY}
        if node.kind == "end" and node.holds:
            return {(False, True): EMPTY}
        return None
    if isinstance(node, Alt):
        found: dict[tuple[bool, bool], list[Node]] = {}
        for part in node.parts:
            sides = _sides(part)
            if sides is None:
                return None
            for key, inner in sides.items():
                found.setdefault(key, []).append(inner)
        return {key: alt(ways) for key, ways in found.items()}
    if isinstance(node, Cat) and node.parts:
        parts = list(node.parts)
        start = end = False
        while parts and parts[0] == Assertion("start"):
            start, parts = True, parts[1:]
        while parts and parts[-1] == Assertion("end"):
            end = bool(parts.pop())
        if not any(asserts(part) for part in parts):
            return {(start, end): cat(parts)}
        done: _Sides = {(False, False): EMPTY}
        for part in node.parts:
            sides = _sides(part)
            if sides is None:
                return None
            done = _after(done, sides)
        return done
    if isinstance(node, Repeat):
        inner_sides = _sides(node.node)
        return None if inner_sides is None else _repeated(inner_sides, node.least, node.most)
    return {(False, False): node}


def _after(left: _Sides, right: _Sides) -> _Sides:
    """One after the other: nothing can stand before a `^` or after a `$`."""
    found: dict[tuple[bool, bool], list[Node]] = {}
    for (start, end), a in left.items():
        for (start_too, end_too), b in right.items():
            if not end and not start_too:
                found.setdefault((start, end_too), []).append(cat([a, b]))
            elif end and start_too:
                if nullable(a) and nullable(b):
                    found.setdefault((True, True), []).append(EMPTY)
            elif end:
                if nullable(b):
                    found.setdefault((start, True), []).append(a)
            elif nullable(a):
                found.setdefault((True, end_too), []).append(b)
    return {key: alt(ways) for key, ways in found.items()}


def _repeated(sides: _Sides, least: int, most: int | None) -> _Sides | None:
    plain = sides.get((False, False), NEVER)
    if len(sides) == 1 and plain != NEVER:
        return {(False, False): repeat(plain, least, most)}
    tied = [inner for key, inner in sides.items() if key != (False, False)]
    if least > 1 and any(nullable(inner) for inner in tied):
        # Repetitions may be spent on nothing at the edge, so each is looked at by itself.
        if most is None or most > _MOST_COPIES:
            return None
        done: _Sides = {(False, False): EMPTY}
        optional: _Sides = _either(sides, {(False, False): EMPTY})
        for number in range(most):
            done = _after(done, sides if number < least else optional)
            if sum(map(_size, done.values())) > _LARGEST:
                return None
        return done
    # Only the first can be tied to the beginning, and only the last to the end.
    found: _Sides = dict(sides)
    if least > 1:
        alone = (True, True)
        found = {alone: sides[alone]} if alone in sides and nullable(plain) else {}
    middle = _counts(plain, least, most, 0)
    found = _either(found, {(False, False): middle})
    for key, inner in sides.items():
        start, end = key
        if start and not end:
            found = _either(found, {key: cat([inner, _counts(plain, least, most, 1)])})
            for other, last in sides.items():
                if other[1]:
                    both = cat([inner, _counts(plain, least, most, 2), last])
                    if not other[0] and (most is None or most >= 2):
                        found = _either(found, {(True, True): both})
        elif end and not start:
            found = _either(found, {key: cat([_counts(plain, least, most, 1), inner])})
    return {key: inner for key, inner in found.items() if inner != NEVER}


def _size(node: Node) -> int:
    """How many nodes a tree has, counted up to a little more than too many."""
    if isinstance(node, Repeat):
        return 1 + _size(node.node)
    total = 1
    if isinstance(node, Cat | Alt):
        for part in node.parts:
            total += _size(part)
            if total > _LARGEST:
                break
    return total


def _counts(node: Node, least: int, most: int | None, fewer: int) -> Node:
    left = None if most is None else most - fewer
    if left is not None and left < 0:
        return NEVER
    return repeat(node, max(least - fewer, 0), left)


def _either(left: _Sides, right: _Sides) -> _Sides:
    out = dict(left)
    for key, inner in right.items():
        out[key] = alt([out[key], inner]) if key in out else inner
    return out


def _trimmed(node: Node, first: bool) -> Node:
    """As little as must be found where anything may stand beside it on that side."""
    if isinstance(node, Repeat):
        if not node.least:
            return EMPTY
        rest = repeat(node.node, node.least - 1, node.least - 1)
        edge = _trimmed(node.node, first)
        return _trimmed_again(cat([edge, rest] if first else [rest, edge]), edge, first)
    if isinstance(node, Cat) and node.parts:
        at = 0 if first else -1
        edge = _trimmed(node.parts[at], first)
        others = list(node.parts[1:] if first else node.parts[:-1])
        return _trimmed_again(cat([edge, *others] if first else [*others, edge]), edge, first)
    if isinstance(node, Alt):
        ways = [_trimmed(part, first) for part in node.parts]
        return EMPTY if EMPTY in ways else alt(ways)
    return node


def _trimmed_again(node: Node, edge: Node, first: bool) -> Node:
    return _trimmed(node, first) if edge == EMPTY and node != EMPTY else node


def nullable(node: Node) -> bool:
    """Whether the empty text matches; the tree has no assertions."""
    if isinstance(node, Repeat):
        return not node.least or nullable(node.node)
    if isinstance(node, Cat):
        return all(nullable(part) for part in node.parts)
    return isinstance(node, Alt) and any(nullable(part) for part in node.parts)


def never(node: Node) -> bool:
    """Whether nothing at all matches; the tree has no assertions."""
    if isinstance(node, Chars):
        return not node.ranges
    if isinstance(node, Repeat):
        return node.least > 0 and never(node.node)
    if isinstance(node, Cat):
        return any(never(part) for part in node.parts)
    return isinstance(node, Alt) and all(never(part) for part in node.parts)


def nonempty(node: Node) -> Node:
    """What matches besides the empty text."""
    if not nullable(node):
        return node
    if isinstance(node, Alt):
        return alt([nonempty(part) for part in node.parts])
    if isinstance(node, Repeat):
        inner = nonempty(node.node)
        if nullable(node.node):
            return repeat(inner, 1, node.most)
        return repeat(inner, 1, node.most)
    ways: list[Node] = []
    if isinstance(node, Cat):
        # All parts can be empty: the first that is not.
        for number, part in enumerate(node.parts):
            ways.append(cat([nonempty(part), *node.parts[number + 1 :]]))
    return alt(ways)


def looped(node: Node) -> Node:
    """Something that is never empty and repeated without end makes the same texts."""
    if isinstance(node, Repeat) and (not node.least or nullable(node.node)):
        return looped(node.node)
    if isinstance(node, Alt):
        return alt([looped(part) for part in node.parts if part != EMPTY])
    if isinstance(node, Cat) and nullable(node):
        return alt([looped(part) for part in node.parts])
    return node


@lru_cache(maxsize=4_096)
def span(node: Node) -> tuple[int, int | None]:
    """The shortest and the longest text that matches, in characters."""
    if isinstance(node, Chars):
        return 1, 1
    if isinstance(node, Repeat):
        low, high = span(node.node)
        if high == 0:
            return 0, 0
        most = None if high is None or node.most is None else high * node.most
        return low * node.least, most
    if isinstance(node, Assertion):
        return 0, 0
    parts = [span(part) for part in node.parts]
    highs = [high for _, high in parts if high is not None]
    if isinstance(node, Cat):
        low = sum(low for low, _ in parts)
        return low, sum(highs) if len(highs) == len(parts) else None
    low = min((low for low, _ in parts), default=0)
    return low, max(highs, default=0) if len(highs) == len(parts) else None


def limited(node: Node, least: int, most: int | None) -> Node | None:
    """The tree with the texts of these lengths only; None if that can't be seen from its shape."""
    low, high = span(node)
    if (most is not None and most < max(low, least)) or (high is not None and high < least):
        return NEVER
    if least <= low and (most is None or (high is not None and high <= most)):
        return node
    if least == 1 and (most is None or (high is not None and high <= most)):
        return nonempty(node)
    if isinstance(node, Alt):
        ways = [limited(part, least, most) for part in node.parts]
        return None if None in ways else alt([way for way in ways if way is not None])
    if isinstance(node, Repeat):
        shortest, longest = span(node.node)
        if shortest != longest or not shortest:
            return None
        fewest = max(node.least, -(-least // shortest))
        counts = [count for count in (node.most,) if count is not None]
        if most is not None:
            counts.append(most // shortest)
        largest = min(counts, default=None)
        if largest is not None and largest < fewest:
            return NEVER
        return repeat(node.node, fewest, largest)
    if isinstance(node, Cat):
        return _limited_sequence(node, least, most)
    return None


def _limited_sequence(node: Cat, least: int, most: int | None) -> Node | None:
    spans = [span(part) for part in node.parts]
    varying = [number for number, (low, high) in enumerate(spans) if low != high]
    fixed = sum(low for low, high in spans if low == high)
    if len(varying) == 1:
        at = varying[0]
        left = None if most is None else most - fixed
        inner = limited(node.parts[at], max(least - fixed, 0), left)
        if inner is None:
            return None
        return cat([*node.parts[:at], inner, *node.parts[at + 1 :]])
    # Fix the lengths of all but what varies most, one way for each.
    widths = []
    for number in varying:
        low, high = spans[number]
        widths.append((_MOST_WAYS if high is None else high - low, number))
    combinations = 1
    for width, _ in sorted(widths)[:-1]:
        combinations *= width + 1
    if combinations > _MOST_WAYS:
        return None
    width, at = min(widths)
    ways = []
    for length in range(spans[at][0], spans[at][0] + width + 1):
        part = limited(node.parts[at], length, length)
        if part is None:
            return None
        if part == NEVER:
            continue
        way = limited(cat([*node.parts[:at], part, *node.parts[at + 1 :]]), least, most)
        if way is None:
            return None
        ways.append(way)
    made = alt(ways)
    return None if isinstance(made, Alt) and len(made.parts) > _MOST_WAYS else made
