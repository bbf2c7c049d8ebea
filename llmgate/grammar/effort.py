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
    last: whether what is too much is left out from now on, instead of trying with less effort.
    """

    branches: int
    characters: int = 1_500
    orders: bool = True
    plainly: bool = False
    last: bool = True


# What is tried one after the other.
EFFORTS: Final = (
    Effort(120, last=False),
    Effort(300, plainly=True),
    Effort(300, characters=200, orders=False, plainly=True),
    Effort(30, characters=0, orders=False, plainly=True),
    Effort(0, characters=0, orders=False, plainly=True),
)


class TooMuch(Exception):
    """A grammar would get too large with this effort."""
