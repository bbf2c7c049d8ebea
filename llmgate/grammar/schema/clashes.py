"""Settles choices: shows, without merging it in, that a schema can't hold together with others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from llmgate.grammar.schema.collect import collect
from llmgate.grammar.schema.evaluate import holds
from llmgate.grammar.schema.facts import Facts, Group, Located
from llmgate.grammar.schema.keywords import Atom
from llmgate.grammar.text.regex import Inexact

if TYPE_CHECKING:
    from llmgate.grammar.schema.document import Document

_DEEPEST: Final = 4
_OBJECTS: Final = frozenset(("object",))
# In place of what is known of the values of a property.
_UNKNOWN: Final = (0, None, None)


def settle(facts: Facts, document: Document) -> None:
    """Leave out branches of choices that can't hold, and merge in those that have to."""
    facts.never = facts.never or hopeless(facts, document)
    settled = False
    while not settled and not facts.never:
        settled = True
        for group in facts.groups.copy():
            if group.claims is None:
                group.claims = [_claims(one, document) for one in group.branches]
                if group.condition is not None:
                    group.deciding = _claims(group.condition[0], document)
            deciding = group.deciding
            if deciding is not None and deciding.clash(facts, document):
                assert group.condition is not None
                left = [group.condition[1]]
            else:
                left = [
                    one
                    for one, claims in zip(group.branches, group.claims, strict=True)
                    if not claims.clash(facts, document)
                ]
            if len(left) == len(group.branches):
                continue
            settled = False
            facts.groups.remove(group)
            if len(left) == 1:
                facts.open = set(group.open)
                collect(facts, left[0], document, group.order)
            elif left:
                around = frozenset(group.open)
                facts.groups.append(Group(group.keyword, group.path, left, around, group.order))
            if not left or hopeless(facts, document):
                facts.never = True
                break


def hopeless(facts: Facts, document: Document) -> bool:
    """Whether it is easy to see that nothing satisfies the facts."""
    if facts.never or facts.types == frozenset():
        return True
    if facts.types != _OBJECTS:
        return False
    if facts.absent and not facts.required.keys().isdisjoint(facts.absent):
        return True
    for part in facts.objects:
        if part.patterns:
            return False
    return any(_valueless(facts, name, document) for name in facts.required)


def _valueless(facts: Facts, name: str, document: Document) -> bool:
    """Whether a property has no value; what was seen before is remembered in the facts."""
    done, values, types = facts.narrowed.get(name, (0, None, None))
    for number in range(done, len(facts.objects)):
        for one in facts.objects[number].about(name, {}):
            schema = one[0]
            if schema is False:
                return True
            if not isinstance(schema, dict):
                continue
            if len(schema) == 1 and "$ref" in schema:
                one = document.resolve(schema, "$ref", one[1])
                schema = one[0] if isinstance(one[0], dict) else {}
            named = schema.get("type")
            if named is not None:
                own = frozenset((named,)) if isinstance(named, str) else frozenset(named)
                types = own if types is None else _both(types, own)
            if values is not None:
                values = _kept(values, (one,), document)
            elif "const" in schema or isinstance(schema.get("enum"), list):
                values = [schema["const"]] if "const" in schema else schema["enum"]
                before = facts.objects[: number + 1]
                parts = tuple(part for each in before for part in each.about(name, {}))
                values = _kept(values, parts, document)
    facts.narrowed[name] = (len(facts.objects), values, types)
    return values == [] or types == frozenset()


class Claims:
    """What is easy to see of a schema: `others` are choices, of each of which one must hold."""

    __slots__ = ("absent", "known", "never", "others", "required", "types", "values")

    def __init__(self) -> None:
        self.never = False
        self.types: list[frozenset[str]] = []
        self.required: list[str] = []
        self.absent: list[str] = []
        self.values: list[tuple[str, Located]] = []
        self.others: list[list[Claims]] = []
        # Whether any of some values is left, by the identity of these and of what they must be.
        self.known: dict[tuple[int, int], tuple[bool, list[Any]]] = {}

    def add(self, located: Located, document: Document, depth: int) -> Claims:
        """Read a schema."""
        schema, path = located
        if isinstance(schema, bool):
            self.never |= not schema
        if not isinstance(schema, dict) or depth > _DEEPEST:
            return self
        if "$ref" in schema and len(schema) == 1:
            return self.add(document.resolve(schema, "$ref", path), document, depth + 1)
        types = schema.get("type")
        if types is not None:
            self.types.append(frozenset((types,) if isinstance(types, str) else types))
        self.absent += schema.get(Atom.ABSENT, ())
        if isinstance(schema.get("required"), list):
            self.required += schema["required"]
        properties = schema.get("properties")
        if isinstance(properties, dict):
            self.values += [
                (name, (one, path))
                for name, one in properties.items()
                if isinstance(one, (bool, dict))
            ]
        self.values += schema.get(Atom.PROPERTY, {}).items()
        if isinstance(schema.get("allOf"), list):
            for one in schema["allOf"]:
                self.add((one, path), document, depth + 1)
        if "not" in schema:
            ways = document.alternatives((schema["not"], path))
            if ways is not None:
                self.others.append([Claims().add(way, document, depth + 1) for way in ways])
        return self

    def clash(self, facts: Facts, document: Document) -> bool:
        """Whether they can't hold together with the facts."""
        if self.never:
            return True
        own = facts.types
        if own is not None and self.types and any(not _both(named, own) for named in self.types):
            return True
        if own != _OBJECTS:
            return False
        if self.absent and not facts.required.keys().isdisjoint(self.absent):
            return True
        if facts.absent and not facts.absent.keys().isdisjoint(self.required):
            return True
        for name, one in self.values:
            values = facts.narrowed.get(name, _UNKNOWN)[1]
            if values is not None and not self._some(values, one, document):
                return True
        return any(all(way.clash(facts, document) for way in ways) for ways in self.others)

    def _some(self, values: list[Any], one: Located, document: Document) -> bool:
        """Whether some of the values satisfy a schema."""
        key = (id(values), id(one[0]))
        known = self.known.get(key)
        if known is None:
            known = self.known[key] = bool(_kept(values, (one,), document)), values
        return known[0]


def _claims(located: Located, document: Document) -> Claims:
    """What is easy to see of a schema, looked for once."""
    found: Claims = document.derived(located, "claims", lambda: Claims().add(located, document, 0))
    return found


def _both(left: frozenset[str], right: frozenset[str]) -> frozenset[str]:
    both = left & right
    if ("integer" in left and "number" in right) or ("integer" in right and "number" in left):
        both |= {"integer"}
    return both


def _kept(values: list[Any], parts: tuple[Located, ...], document: Document) -> list[Any]:
    """The values that satisfy all schemas, or all values where that can't be told."""
    for one in parts:
        key = (*values, id(one[0])) if _texts(values) else None
        known = document.kept.get(key) if key is not None else None
        if known is None:
            try:
                left = _listed(values, one[0])
                if left is None:
                    left = [value for value in values if holds(value, one, document)]
            except Inexact:
                left = values
            known = (left, one[0])
            if key is not None:
                document.kept[key] = known
        values = known[0]
    return values


def _texts(values: list[Any]) -> bool:
    return {*map(type, values)} <= {str}


def _listed(values: list[Any], schema: Any) -> list[Any] | None:
    """The texts that a plain list of texts has, or has not; None where that isn't all there is."""
    wanted = True
    while isinstance(schema, dict) and len(schema) == 1 and "not" in schema:
        schema, wanted = schema["not"], not wanted
    if not isinstance(schema, dict) or len(schema) != 1:
        return None
    listed = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(listed, list) or not _texts(values):
        return None
    return [value for value in values if (value in listed) == wanted]
