"""How much of a schema is written out, where everything would make a grammar too large."""

from __future__ import annotations

from typing import Final

import msgspec


class Effort(msgspec.Struct, frozen=True):
    """How much is written out.

    branches: how many combinations of choices are merged.
    characters: how much of the names of properties other keys are told apart from.
    orders: whether properties may stand in other orders than the schema's.
    plainly: whether less is allowed than the schema does, where that makes its choices plain:
        what a condition asks about has to be there, and branches differ in what people have in
        mind.
    states: how many states of numbers are followed, for what they are multiples of.
    enough: from how many combinations on less effort is tried; those beyond `branches` are left
        out until then. None where there is nothing else to try.
    """

    branches: int
    characters: int = 1_500
    orders: bool = True
    plainly: bool = False
    states: int = 1_200
    enough: int | None = None


# For a schema that shares its grammar with others.
SHARED: Final = Effort(400, plainly=True)
# What is tried one after the other.
EFFORTS: Final = (
    Effort(54, enough=54),
    Effort(400, characters=200, orders=False, plainly=True, states=600, enough=800),
    Effort(30, characters=0, orders=False, plainly=True, states=200),
    Effort(0, characters=0, orders=False, plainly=True, states=0),
)


class TooMuch(Exception):
    """A grammar would get too large with this effort."""
