"""GBNF for JSON arrays: items by position, then any number of further ones, within bounds."""

from __future__ import annotations

from llmgate.grammar.builder import MOST_REPETITIONS, Builder
from llmgate.grammar.facts import Facts, Located
from llmgate.grammar.objects import Node


def array(builder: Builder, facts: Facts, hint: str, node: Node) -> str | None:
    """A rule for the arrays that the facts allow; None if there are none."""
    least, most = facts.least.get("Items", 0), facts.most.get("Items")
    positions = max((len(prefix) for prefix, _ in facts.arrays), default=0)
    items: list[str] = []
    for number in range(positions):
        if most is not None and number >= most:
            break
        item = node(_at(facts, number), hint)
        if item is None:
            most = number
            break
        items.append(item)
    rest: str | None = None
    if most is None or most > positions:
        limits = [limit for prefix, limit in facts.arrays if limit is not None]
        # After items by position a model should not invent more, unless it has to.
        if limits or not positions or least > positions:
            rest = node(tuple(limits) or ((True, facts.path),), f"{hint}-item")
        if rest is None:
            most = len(items)
    if most is not None and most < least:
        return None
    bound = max(least, most or 0) - len(items)
    if bound > MOST_REPETITIONS and rest is not None:
        if least > MOST_REPETITIONS:
            facts.relax("minItems", f"enforced up to {MOST_REPETITIONS}")
            least = MOST_REPETITIONS
        if most is not None:
            facts.relax("maxItems", f"not enforced above {MOST_REPETITIONS}")
            most = None
    ws = builder.use("ws")
    if not items and rest is None:
        return builder.rule(hint, f'"[" {ws} "]"')
    if not items and rest == "value" and not least and most is None:
        return builder.use("array")
    tail = ""
    if rest is not None:
        more = builder.rule("more", f'"," {ws} {rest}')
        first = 0 if items else 1
        done = len(items) + first
        tail = builder.repeat(more, max(least - done, 0), None if most is None else most - done)
        if tail == '""':
            tail = ""
        if first:
            inside = f"{rest} {tail} {ws}".replace("  ", " ")
            return builder.rule(hint, f'"[" {ws} {inside if least else f"({inside})?"} "]"')
    # From the last position to the first, each optional one holds what comes after it.
    for number in range(len(items) - 1, -1, -1):
        step = f"{items[number]} {tail}".rstrip()
        step = f'"," {ws} {step}' if number else f"{step} {ws}"
        if number >= least:
            rule = builder.rule(f"{hint}-rest", step)
            tail = f"{rule}?"
        else:
            tail = step
    return builder.rule(hint, f'"[" {ws} {tail} "]"')


def _at(facts: Facts, number: int) -> tuple[Located, ...]:
    out: list[Located] = []
    for prefix, rest in facts.arrays:
        if number < len(prefix):
            out.append(prefix[number])
        elif rest is not None:
            out.append(rest)
    return tuple(out)
