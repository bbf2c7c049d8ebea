"""A ranking by vector and one by words become one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
# Reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009): the constant is theirs. It keeps
# the first places from outweighing that both rankings agree.
_DAMPING = 60


def fused(near: Sequence[Key], relevant: Sequence[tuple[Key, float]]) -> list[tuple[Key, float]]:
    """What either ranking has, best first, with the sum of what its places are worth.

    A place among the words counts less if its relevance is below one half: many passages have
    nothing of a query but a word that says little. Similarities have no such zero. Of equals the
    nearer one comes first.
    """
    scores = {key: 1 / (_DAMPING + place) for place, key in enumerate(near, 1)}
    for place, (key, relevance) in enumerate(relevant, 1):
        worth = min(1.0, 2 * relevance)
        scores[key] = scores.get(key, 0.0) + worth / (_DAMPING + place)
    return sorted(scores.items(), key=lambda item: -item[1])
