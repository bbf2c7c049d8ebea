"""Finds what a `$ref` points to, inside the one schema document that there is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from llmgate.errors import GrammarError, Unsupported, suggestion
from llmgate.grammar.schema.facts import Located, shown

_OLD_DRAFT: Final = re.compile(r"json-schema\.org/draft-0[3467]/")
# What stands below these is data, not schemas.
_DATA: Final = frozenset(("const", "default", "enum", "example", "examples"))


class References:
    """The places of one document that can be referred to: by pointer, anchor or identifier."""

    def __init__(self, document: object, base: str) -> None:
        self.document = document
        self.base = base
        # Before draft 2019-09, what stands beside a reference does not count.
        draft = document.get("$schema") if isinstance(document, dict) else None
        self.lone = isinstance(draft, str) and _OLD_DRAFT.search(draft) is not None
        # By address, with the anchor behind '#' where there is one.
        self._named: dict[str, Located] | None = None
        self._address = ""
        # The address that references of a schema start from, where it is not the document's.
        self._below: dict[int, str] = {}
        # What was found, with the schema that refers to it, which is kept for its identity.
        self._found: dict[tuple[int, str], tuple[Located, object]] = {}
        # The same by the reference itself and the address that it starts from.
        self._known: dict[tuple[str, str], Located] = {}

    def resolve(self, schema: dict[str, Any], keyword: str, path: str) -> Located:
        """The schema that a reference, the `keyword` of `schema`, points to, and where that is.

        Raises `GrammarError` if there is nothing there, `Unsupported` for another document.
        """
        key = (id(schema), keyword)
        known = self._found.get(key)
        if known is None:
            known = self._found[key] = self._resolved(schema, keyword, path), schema
        return known[0]

    def _resolved(self, schema: dict[str, Any], keyword: str, path: str) -> Located:
        reference = schema[keyword]
        path = f"{path}/{keyword}"
        if not isinstance(reference, str):
            raise GrammarError(f"{path}: a reference must be a string, not {shown(reference)}.")
        named = self._named if self._named is not None else self._names()
        start = self._below.get(id(schema), self._address)
        known = self._known.get((start, reference))
        if known is None:
            known = self._known[start, reference] = self._pointed(reference, start, named, path)
        return known

    def _pointed(self, reference: str, start: str, named: dict[str, Located], path: str) -> Located:
        address, _, fragment = reference.partition("#")
        address = _joined(start, address) if address else start
        root = (self.document, self.base) if address == self._address else named.get(address)
        if root is None:
            raise Unsupported(
                f"{path}: the reference {reference!r} points outside of this schema.",
                hint="Copy what it points to into '$defs' and refer to that.",
            )
        if not fragment:
            return root
        if fragment.startswith("/"):
            found = _point(root, fragment)
            if found is None and root[0] is not self.document:
                # Many a schema means the whole document where it says its own part of it.
                found = _point((self.document, self.base), fragment)
            if found is None:
                raise _nothing_there(root[0], fragment, reference, path)
            return found
        found = named.get(f"{address}#{fragment}") or named.get(f"#{fragment}")
        if found is None:
            raise GrammarError(f"{path}: the reference {reference!r} names no anchor here.")
        return found

    def _names(self) -> dict[str, Located]:
        named = self._named = {}
        if isinstance(self.document, dict):
            self._address = _identifier(self.document).partition("#")[0]
        if not _names_parts(self.document):
            return named
        todo: list[tuple[Any, str, str]] = [(self.document, self.base, self._address)]
        while todo:
            here, path, address = todo.pop()
            if isinstance(here, list):
                todo.extend((one, f"{path}/{n}", address) for n, one in enumerate(here))
                continue
            if not isinstance(here, dict):
                continue
            name = _identifier(here)
            if name:
                place, _, anchor = name.partition("#")
                if place:
                    address = _joined(address, place)
                    named.setdefault(address, (here, path))
                if anchor:
                    named.setdefault(f"{address}#{anchor}", (here, path))
            for keyword in ("$anchor", "$dynamicAnchor"):
                own = here.get(keyword)
                if isinstance(own, str):
                    named.setdefault(f"{address}#{own}", (here, path))
                    named.setdefault(f"#{own}", (here, path))
            if address != self._address:
                self._below[id(here)] = address
            for key, one in here.items():
                if isinstance(one, (dict, list)) and key not in _DATA:
                    todo.append((one, f"{path}/{key}", address))
        return named


def _names_parts(document: Any) -> bool:
    """Whether any part of a document, beside the whole, has a name of its own."""
    if isinstance(document, dict) and ("$anchor" in document or "$dynamicAnchor" in document):
        return True
    if isinstance(document, dict) and "#" in _identifier(document).rstrip("#"):
        return True
    todo = _nested(document.values()) if isinstance(document, dict) else []
    while todo:
        here = todo.pop()
        if isinstance(here, dict):
            if "$id" in here or "$anchor" in here or "$dynamicAnchor" in here:
                return True
            if "id" in here and isinstance(here["id"], str):
                return True
            todo += _nested(here.values())
        else:
            todo += _nested(here)
    return False


def _nested(values: Iterable[Any]) -> list[Any]:
    return [one for one in values if isinstance(one, (dict, list))]


def _identifier(schema: dict[str, Any]) -> str:
    for keyword in ("$id", "id"):
        name = schema.get(keyword)
        if isinstance(name, str):
            return name
    return ""


def _joined(base: str, address: str) -> str:
    if not base or "://" in address:
        return address
    from urllib.parse import urljoin

    return urljoin(base, address)


def _keys(fragment: str) -> list[str]:
    if "%" in fragment:
        from urllib.parse import unquote

        fragment = unquote(fragment)
    return [
        part.replace("~1", "/").replace("~0", "~") if "~" in part else part
        for part in fragment.split("/")[1:]
    ]


def _below(here: Any, key: str) -> Any:
    """What stands under a key; the key itself is the sign of nothing."""
    if isinstance(here, dict):
        return here.get(key, key)
    if isinstance(here, list) and key.isdecimal() and int(key) < len(here):
        return here[int(key)]
    return key


def _point(root: Located, fragment: str) -> Located | None:
    here, base = root
    for key in _keys(fragment):
        here = _below(here, key)
        if here is key:
            return None
    return here, base + fragment


def _nothing_there(here: Any, fragment: str, reference: str, path: str) -> GrammarError:
    for key in _keys(fragment):
        below = _below(here, key)
        if below is key:
            break
        here = below
    known = [str(name) for name in here] if isinstance(here, dict) else []
    return GrammarError(
        f"{path}: the reference {reference!r} points to nothing: no {key!r} there.",
        hint=suggestion(key, known) if known else None,
    )
