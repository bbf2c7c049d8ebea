"""Finds what a `$ref` points to, inside the one schema document that there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from llmgate.errors import GrammarError, Unsupported, suggestion

_OLD_DRAFT: Final = re.compile(r"json-schema\.org/draft-0[3467]/")


class References:
    """The places of one document that can be referred to: by pointer, anchor or identifier."""

    def __init__(self, document: object, base: str) -> None:
        self.document = document
        self.base = base
        # Before draft 2019-09, what stands beside a reference does not count.
        draft = document.get("$schema") if isinstance(document, dict) else None
        self.lone = isinstance(draft, str) and _OLD_DRAFT.search(draft) is not None
        self._named: dict[str, tuple[Any, str]] | None = None

    def resolve(self, reference: object, path: str) -> tuple[Any, str]:
        """The schema that `reference`, which stands at `path`, points to, and where that is.

        Raises `GrammarError` if there is nothing there, `Unsupported` for another document.
        """
        if not isinstance(reference, str):
            raise GrammarError(f"{path}: a reference must be a string, not {reference!r}.")
        address, _, fragment = reference.partition("#")
        document, base = self.document, self.base
        if address:
            found = self._names().get(address)
            if found is None:
                raise Unsupported(
                    f"{path}: the reference {reference!r} points outside of this schema.",
                    hint="Copy what it points to into '$defs' and refer to that.",
                )
            document, base = found
        if not fragment:
            return document, base
        if not fragment.startswith("/"):
            found = self._names().get(f"#{fragment}")
            if found is None:
                raise GrammarError(f"{path}: the reference {reference!r} names no anchor here.")
            return found
        return self._point(document, base, fragment, reference, path)

    def _point(
        self, document: Any, base: str, fragment: str, reference: str, path: str
    ) -> tuple[Any, str]:
        here = document
        if "%" in fragment:
            from urllib.parse import unquote

            fragment = unquote(fragment)
        for part in fragment.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(here, dict) and key in here:
                here = here[key]
            elif isinstance(here, list) and key.isdecimal() and int(key) < len(here):
                here = here[int(key)]
            else:
                known = here if isinstance(here, dict) else ()
                raise GrammarError(
                    f"{path}: the reference {reference!r} points to nothing: no {key!r} there.",
                    hint=suggestion(key, [str(name) for name in known]) if known else None,
                )
        return here, base + fragment

    def _names(self) -> dict[str, tuple[Any, str]]:
        if self._named is None:
            self._named = {}
            for schema, path in _walk(self.document, self.base):
                for keyword, mark in (
                    ("$id", ""),
                    ("id", ""),
                    ("$anchor", "#"),
                    ("$dynamicAnchor", "#"),
                ):
                    name = schema.get(keyword)
                    if isinstance(name, str) and name:
                        self._named.setdefault(mark + name.removesuffix("#"), (schema, path))
        return self._named


def _walk(document: object, base: str) -> Iterator[tuple[dict[str, Any], str]]:
    todo = [(document, base)]
    while todo:
        here, path = todo.pop()
        if isinstance(here, dict):
            yield here, path
            todo.extend((below, f"{path}/{key}") for key, below in here.items())
        elif isinstance(here, list):
            todo.extend((below, f"{path}/{number}") for number, below in enumerate(here))
