"""One schema document while it is compiled: what its references mean, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmgate.grammar.schema.facts import Located
from llmgate.grammar.schema.negation import negation
from llmgate.grammar.schema.refs import References


class Document:
    """A document's references, and the schemas derived from its own, each made once.

    Derived schemas have to be the same objects each time: what is compiled already is known by
    the identity of its schemas.
    """

    def __init__(
        self, schema: object, base: str, *, plainly: bool = False, implied: bool = True
    ) -> None:
        # Whether choices may be made plainer than the schema makes them, which may change, and
        # whether keywords about one type mean a value of that type.
        self.plainly = plainly
        self.implied = implied
        self.references = References(schema, base)
        self.resolve = self.references.resolve
        self.lone = self.references.lone
        # Keeps what was derived from alive, so that its identity stays its own.
        # Which of some fixed texts satisfy a schema, which is kept for its identity.
        self.kept: dict[tuple[object, ...], tuple[list[Any], Any]] = {}
        self._derived: dict[tuple[object, ...], tuple[Any, Any]] = {}

    def derived(self, of: Located, how: object, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once for each schema and purpose."""
        key = (id(of[0]), how)
        found = self._derived.get(key)
        if found is None:
            found = self._derived[key] = (of[0], make())
        return found[1]

    def opposite(self, of: Located) -> Located:
        """A schema for what does not satisfy one."""
        schema, path = of
        if isinstance(schema, bool):
            return not schema, path
        if schema == {}:
            return False, path
        return self.derived(of, "not", lambda: {"not": schema}), path

    def refused(self, of: Located) -> tuple[list[Located], bool]:
        """Schemas for what does not satisfy one, and whether they are for all of that."""
        key = (id(of[0]), "refused")
        found = self._derived.get(key)
        if found is None:
            # What is needed to say what it is not can't be said.
            self._derived[key] = (of[0], ([], False))
            found = self._derived[key] = (of[0], negation(of, self))
        ways: tuple[list[Located], bool] = found[1]
        return ways

    def alternatives(self, of: Located) -> list[Located] | None:
        """Schemas, one of which holds where `of` does not; None where that can't be said."""
        ways, complete = self.refused(of)
        return ways if complete else None
