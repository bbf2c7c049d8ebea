"""What a compiled grammar is."""

from __future__ import annotations

import msgspec


class Relaxed(msgspec.Struct, frozen=True):
    """A keyword of the schema that the grammar does not enforce; the validator must.

    `path` is where the keyword stands, `keyword` its name, `why` one clause for a person.
    """

    path: str
    keyword: str
    why: str


class Grammar(msgspec.Struct, frozen=True):
    """GBNF text, and what of its schema is left to the validator.

    A grammar may be stricter than its schema (a fixed order of properties, a bounded number of
    digits), which is not listed; wherever it is looser, `relaxed` says so.
    """

    text: str
    relaxed: tuple[Relaxed, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether everything that the grammar admits satisfies the schema."""
        return not self.relaxed
