"""One line about what a turn took: tokens, the cached share, speed, what was mended."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from llmgate.types import Usage

if TYPE_CHECKING:
    from llmgate.agent.steps import Step

# Notes about what was mended: counted in the line, told in full with --debug.
COUNTED = ("repaired", "coerced", "closed", "dropped", "retried", "cached")
# Notes about what is so with each answer: told once.
STANDING = ("constraint", "unconstrained", "estimated", "ignored_parameter")


class Turn(msgspec.Struct):
    """The steps of a turn, and how long the model wrote at them."""

    steps: list[Step] = msgspec.field(default_factory=list)
    writing: float = 0.0

    @property
    def usage(self) -> Usage:
        """All tokens of the turn; cached ones are known if any step knows them."""
        cached = [step.usage.cached for step in self.steps if step.usage.cached is not None]
        return Usage(
            sum(step.usage.prompt for step in self.steps),
            sum(step.usage.completion for step in self.steps),
            sum(cached) if cached else None,
        )


def summary(turn: Turn, between: str = " · ") -> str:
    """The line; empty where the model was not asked."""
    usage = turn.usage
    asked = sum(step.usage.completion > 0 or step.usage.prompt > 0 for step in turn.steps)
    if not asked:
        return ""
    parts = [f"{usage.prompt:,} tokens in"]
    if usage.cached is not None and usage.prompt:
        parts.append(f"{cached_share(usage):.0f} % cached")
    parts.append(f"{usage.completion:,} out")
    if turn.writing > 0 and usage.completion:
        parts.append(f"{usage.completion / turn.writing:.1f} tokens/s")
    if asked > 1:
        parts.append(f"{asked} steps")
    notes = (note for step in turn.steps for note in step.notes)
    counts = Counter(note.code for note in notes if note.code in COUNTED)
    parts += [code if number == 1 else f"{code} ×{number}" for code, number in counts.items()]
    return between.join(parts)


def cached_share(usage: Usage) -> float:
    """How much of the prompt was not read again, in percent."""
    return 100 * (usage.cached or 0) / usage.prompt if usage.prompt else 0.0
