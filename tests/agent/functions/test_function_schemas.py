"""Schemas from signatures and docstrings: each type, each way to describe it, each mistake."""

from __future__ import annotations

import dataclasses
import enum
import json
import typing
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, TypedDict, Union
from uuid import UUID

import msgspec
import pydantic
import pytest

from llmgate.agent.functions import function, function_of, shipped, tool_of
from llmgate.errors import ConfigError
from llmgate.types import Note
from llmgate.validation import Checker

if typing.TYPE_CHECKING:
    from nowhere import Unknown

HERE = Path(__file__).parent


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Bits(enum.Flag):
    ONE = 1


class Shapes(enum.Enum):
    ROUND = (1, 2)


@dataclasses.dataclass
class Point:
    """A place.

    Attributes:
        x: How far east.
    """

    x: int
    y: int = 0
    tags: list[str] = dataclasses.field(default_factory=list)
    secret: int = dataclasses.field(default=1, init=False)


@dataclasses.dataclass
class Tree:
    name: str
    branches: list[Tree] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Odd:
    what: complex


class Person(TypedDict):
    name: str
    age: NotRequired[int]


class Pair(NamedTuple):
    first: int
    second: str = "b"


class Order(msgspec.Struct, rename="camel"):
    """An order."""

    item_name: str
    how_many: Annotated[int, msgspec.Meta(ge=1, description="At least one.")] = 1
    where: Point | None = None


class Cat(msgspec.Struct, tag="cat"):
    lives: int = 9


class Dog(msgspec.Struct, tag="dog"):
    tricks: list[str] = []


class Row(msgspec.Struct, array_like=True):
    one: int


class Inner(pydantic.BaseModel):
    value: float


class Model(pydantic.BaseModel):
    """A model."""

    count: int = pydantic.Field(ge=1, description="How many.")
    inner: Inner | None = None


UserId = typing.NewType("UserId", int)

POINT = {
    "type": "object",
    "properties": {
        "x": {"type": "integer", "description": "How far east."},
        "y": {"type": "integer", "default": 0},
        "tags": {"type": "array", "items": {"type": "string"}, "default": []},
    },
    "required": ["x"],
}
REQUIRED = object()
WHEN = datetime.fromisoformat("2026-01-02T03:04:05+01:00")
UUID_OF_IT = UUID("12345678-1234-5678-1234-567812345678")


def taking(hint: Any, default: Any = REQUIRED) -> Any:
    """A function with one parameter of that type."""

    def taker(value):
        """Take it.

        Args:
            value: It.
        """
        return value

    taker.__annotations__ = {"value": hint}
    taker.__defaults__ = None if default is REQUIRED else (default,)
    return taker


def schema_of(hint: Any, default: Any = REQUIRED) -> Any:
    parameters = tool_of(taking(hint, default)).parameters
    schema = parameters["properties"]["value"]
    assert schema.pop("description") == "It."
    assert ("value" in parameters["required"]) == (default is REQUIRED)
    return schema


def arguments(target: Any, **values: Any) -> Any:
    """What the function gets for a JSON value."""
    notes: list[Note] = []
    parameters = {one.name: one for one in function_of(target).parameters}
    return {name: parameters[name].load(v, name, notes) for name, v in values.items()}


def test_the_shipped_functions_have_exactly_these_schemas():
    golden = json.loads((HERE / "shipped.json").read_text(encoding="utf-8"))
    made = {name: msgspec.to_builtins(one.tool) for name, one in shipped().items()}
    assert made == golden
    # The order of keys is part of the prompt, which has to be the same each time.
    assert json.dumps(made) == json.dumps(golden)


def test_the_schemas_of_the_base_functions_fit_small_contexts():
    texts = [json.dumps(msgspec.to_builtins(one.tool)) for one in list(shipped().values())[:8]]
    assert sum(map(len, texts)) < 4000


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Any, {}),
        (object, {}),
        ("int", {"type": "integer"}),
        ("int | None", {"type": ["integer", "null"]}),
        (Optional[int], {"type": ["integer", "null"]}),  # noqa: UP045 - the old spelling
        (Union[int, str, None], {"type": ["integer", "string", "null"]}),  # noqa: UP007
        (int | str, {"type": ["integer", "string"]}),
        (list, {"type": "array"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (list[int] | None, {"type": ["array", "null"], "items": {"type": "integer"}}),
        (typing.List[str], {"type": "array", "items": {"type": "string"}}),  # noqa: UP006
        (Sequence[bool], {"type": "array", "items": {"type": "boolean"}}),
        (set[int], {"type": "array", "items": {"type": "integer"}}),
        (frozenset[str], {"type": "array", "items": {"type": "string"}}),
        (tuple, {"type": "array"}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (
            tuple[int, str],
            {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "items": False,
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (tuple[()], {"type": "array", "maxItems": 0}),
        (dict, {"type": "object"}),
        (dict[str, Any], {"type": "object"}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Mapping[int, str], {"type": "object", "additionalProperties": {"type": "string"}}),
        (
            dict[Literal["a", "b"], int],
            {
                "type": "object",
                "additionalProperties": {"type": "integer"},
                "propertyNames": {"enum": ["a", "b"]},
            },
        ),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a", 1, None], {"type": ["string", "integer", "null"], "enum": ["a", 1, None]}),
        (Literal["a"] | None, {"type": ["string", "null"], "enum": ["a", None]}),
        (Literal[Colour.RED], {"type": "string", "enum": ["red"]}),
        (Colour, {"type": "string", "enum": ["red", "blue"]}),
        (Level, {"type": "integer", "enum": [1, 2]}),
        (date, {"type": "string", "format": "date"}),
        (datetime, {"type": "string", "format": "date-time"}),
        (time, {"type": "string", "format": "time"}),
        (timedelta, {"type": "string", "format": "duration"}),
        (UUID, {"type": "string", "format": "uuid"}),
        (Decimal, {"type": "number"}),
        (Path, {"type": "string"}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (UserId, {"type": "integer"}),
        (Annotated[int, msgspec.Meta(ge=1, lt=9)], {
            "type": "integer", "minimum": 1, "exclusiveMaximum": 9,
        }),
        (Annotated[str, msgspec.Meta(min_length=2, max_length=5, pattern="^a")], {
            "type": "string", "minLength": 2, "maxLength": 5, "pattern": "^a",
        }),
        (Annotated[list[int], msgspec.Meta(max_length=3)], {
            "type": "array", "items": {"type": "integer"}, "maxItems": 3,
        }),
        (Annotated[int, pydantic.Field(gt=0)], {"type": "integer", "exclusiveMinimum": 0}),
        (Point, POINT),
        (list[Point], {"type": "array", "items": {**POINT, "description": "A place."}}),
        (
            Person,
            {
                "type": "object",
                "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
                "required": ["name"],
            },
        ),
        (
            Pair,
            {
                "type": "object",
                "properties": {
                    "first": {"type": "integer"},
                    "second": {"type": "string", "default": "b"},
                },
                "required": ["first"],
            },
        ),
        (
            Order,
            {
                "type": "object",
                "properties": {
                    "itemName": {"type": "string"},
                    "howMany": {
                        "type": "integer",
                        "minimum": 1,
                        "description": "At least one.",
                        "default": 1,
                    },
                    "where": {**POINT, "description": "A place."},
                },
                "required": ["itemName"],
            },
        ),
        (
            Cat | Dog,
            {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {
                            "type": {"const": "cat"},
                            "lives": {"type": "integer", "default": 9},
                        },
                        "required": ["type"],
                    },
                    {
                        "type": "object",
                        "properties": {
                            "type": {"const": "dog"},
                            "tricks": {
                                "type": "array", "items": {"type": "string"}, "default": [],
                            },
                        },
                        "required": ["type"],
                    },
                ]
            },
        ),
        (
            Model,
            {
                "type": "object",
                "properties": {
                    "count": {"type": "integer", "minimum": 1, "description": "How many."},
                    "inner": {
                        "anyOf": [
                            {
                                "type": "object",
                                "properties": {"value": {"type": "number"}},
                                "required": ["value"],
                            },
                            {"type": "null"},
                        ],
                        "default": None,
                    },
                },
                "required": ["count"],
            },
        ),
    ],
    ids=str,
)  # fmt: skip
def test_a_type_has_this_schema(hint, schema):
    made = schema_of(hint)
    assert made == schema
    Checker.of(made)


@pytest.mark.parametrize(
    ("hint", "default", "schema"),
    [
        (int, 5, {"type": "integer", "default": 5}),
        (str, "", {"type": "string", "default": ""}),
        (bool, False, {"type": "boolean", "default": False}),
        (list[int], [1], {"type": "array", "items": {"type": "integer"}, "default": [1]}),
        (Colour, Colour.BLUE, {"type": "string", "enum": ["red", "blue"], "default": "blue"}),
        (date, date(2026, 1, 2), {"type": "string", "format": "date", "default": "2026-01-02"}),
        (Path, Path("a"), {"type": "string", "default": "a"}),
        (Point, Point(1), {**POINT, "default": {"x": 1, "y": 0, "tags": []}}),
        (int | None, 3, {"type": ["integer", "null"], "default": 3}),
        # To leave it out says the same as null, in fewer words.
        (int | None, None, {"type": "integer"}),
        (Literal["a"] | None, None, {"type": "string", "enum": ["a"]}),
        (Point | None, None, POINT),
        (int | str | None, None, {"type": ["integer", "string"]}),
        (list[int] | Point | None, None, {
            "anyOf": [
                {"type": "array", "items": {"type": "integer"}},
                {**POINT, "description": "A place."},
            ]
        }),
    ],
    ids=str,
)  # fmt: skip
def test_a_default_is_shown(hint, default, schema):
    assert schema_of(hint, default) == schema


def test_a_class_that_names_itself_stays_a_definition():
    parameters = tool_of(taking(Tree)).parameters
    tree = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "branches": {"type": "array", "items": {"$ref": "#/$defs/Tree"}, "default": []},
        },
        "required": ["name"],
    }
    assert parameters["properties"]["value"] == {"$ref": "#/$defs/Tree", "description": "It."}
    assert parameters["$defs"] == {"Tree": tree}
    leaf = {"name": "leaf"}
    made = arguments(taking(Tree), value={"name": "a", "branches": [leaf]})
    assert made == {"value": Tree("a", [Tree("leaf")])}


@pytest.mark.parametrize(
    ("hint", "value", "made"),
    [
        (Colour, "blue", Colour.BLUE),
        (Level, 2, Level.HIGH),
        (Literal[Colour.RED, "x"], "red", Colour.RED),
        (Point, {"x": 1, "tags": ["a"]}, Point(1, 0, ["a"])),
        (list[Point] | None, [{"x": 1}], [Point(1)]),
        (Order, {"itemName": "a", "where": {"x": 2}}, Order("a", 1, Point(2))),
        (Cat | Dog, {"type": "dog", "tricks": ["sit"]}, Dog(["sit"])),
        (Model, {"count": 2, "inner": {"value": 1}}, Model(count=2, inner=Inner(value=1))),
        (Person, {"name": "a"}, {"name": "a"}),
        (Pair, {"first": 1}, Pair(1, "b")),
        (tuple[int, Colour], [1, "red"], (1, Colour.RED)),
        (set[int], [1, 2], {1, 2}),
        (dict[int, Point], {"3": {"x": 1}}, {3: Point(1)}),
        (dict[str, list[Colour]], {"a": ["red"]}, {"a": [Colour.RED]}),
        (int | float, 1, 1),
        (float | int, 1, 1),
        (float, 1, 1.0),
        (int, 2.0, 2),
        (date | str, "2026-01-02", date(2026, 1, 2)),
        (date | str, "soon", "soon"),
        (date, "2026-03-01 12:30:00 PM", date(2026, 3, 1)),
        (datetime, "2026-01-02T03:04:05+01:00", WHEN),
        (timedelta, "PT90S", timedelta(seconds=90)),
        (Decimal, 0.1, Decimal("0.1")),
        (bytes, "aGk=", b"hi"),
        (UUID, "12345678-1234-5678-1234-567812345678", UUID_OF_IT),
        (Any, {"a": [1]}, {"a": [1]}),
    ],
    ids=str,
)  # fmt: skip
def test_a_json_value_becomes_what_the_hint_says(hint, value, made):
    got = arguments(taking(hint), value=value)["value"]
    assert got == made
    assert type(got) is type(made)


@pytest.mark.parametrize(
    ("hint", "value", "words"),
    [
        (int, True, "whole number"),
        (float, "x", "number"),
        (float, 10**400, "Python can hold"),
        (date, "yesterday", "YYYY-MM-DD"),
        (datetime, "soon", "time"),
        (UUID, "x", "UUID"),
        (bytes, "?", "base64"),
        (timedelta, "a while", "duration"),
        (Point, [], "object"),
        (Point, {}, "x"),
        (Cat | Dog, {"type": "cow"}, "dog"),
        (Model, {"count": 0}, "value.count"),
        (tuple[int, int], [1], "list of 2"),
        (dict[int, str], {"a": "b"}, "a key of value"),
    ],
    ids=str,
)
def test_a_value_that_can_not_be_converted_says_what_is_wrong(hint, value, words):
    with pytest.raises(ValueError, match=words):
        arguments(taking(hint), value=value)


def test_fields_that_a_class_does_not_have_are_noted():
    notes: list[Note] = []
    made = function_of(taking(Point)).parameters[0].load({"x": 1, "z": 2}, "value", notes)
    assert made == Point(1)
    assert [note.message for note in notes] == ["value has no 'z', so that was left out."]


def test_descriptions_come_from_the_docstring_and_from_annotations():
    def search(
        query: str,
        limit: Annotated[int, "How many."] = 3,
        kind: Annotated[str, msgspec.Meta(description="Which.")] = "a",
        mode: Annotated[str, pydantic.Field(description="How.")] = "b",
        size: Annotated[int, "Not this."] = 1,
    ):
        """Search the shelf
        for a thing.

        More that models need not read.

        Args:
            query (str, optional): What to look for:
                words, or
                a name.
            size (list[int]): This.

        Returns:
            query: nothing of this counts.
        """
        return query, limit, kind, mode, size

    tool = tool_of(search)
    assert tool.description == "Search the shelf for a thing."
    described = {name: one["description"] for name, one in tool.parameters["properties"].items()}
    del described["request_heartbeat"]
    assert described == {
        "query": "What to look for: words, or a name.",
        "limit": "How many.",
        "kind": "Which.",
        "mode": "How.",
        "size": "This.",
    }
    assert tool.parameters["required"] == ["query", "request_heartbeat"]


def test_the_agent_is_no_parameter_for_models():
    def first(agent, x: int):
        """Do it.

        Args:
            x: It.
        """
        return agent, x

    def second(self, x: int):
        """Do it.

        Args:
            x: It.
        """
        return self, x

    for target in (first, second):
        made = function_of(target)
        assert made.takes_agent
        assert list(made.tool.parameters["properties"]) == ["x", "request_heartbeat"]


def test_only_functions_that_can_go_on_ask_for_a_heartbeat():
    asking = {
        name
        for name, one in shipped().items()
        if "request_heartbeat" in one.tool.parameters["properties"]
    }
    assert set(shipped()) - asking == {"send_message", "pause_heartbeats"}


def test_options_are_taken_over():
    @function(approval="deny", replayable=True, returns_data=False, timeout=5, bound=("x",))
    def marked(x: int):
        """Do it.

        Args:
            x: It.
        """
        return x

    made = function_of(marked)
    assert (made.default, made.replayable, made.returns_data) == ("deny", True, False)
    assert (made.timeout, made.bound) == (5, ("x",))


def nameless(x: int, y):
    """Do it.

    Args:
        x: It.
        y: It.
    """
    return x, y


def silent(x: int, y: int):
    """Do it.

    Args:
        x: It.
    """
    return x, y


def undocumented(x: int):
    return x


def hidden(x: Unknown):
    """Do it.

    Args:
        x: It.
    """
    return x


def starred(*words: str):
    """Do it.

    Args:
        *words: Them.
    """
    return words


def double_starred(**words: str):
    """Do it.

    Args:
        **words: Them.
    """
    return words


def beating(request_heartbeat: bool):
    """Do it.

    Args:
        request_heartbeat: It.
    """
    return request_heartbeat


def yielding(x: int):
    """Do it.

    Args:
        x: It.
    """
    yield x


def naïve(x: int):
    """Do it.

    Args:
        x: It.
    """
    return x


@function(bound=("z",))
def misbound(x: int):
    """Do it.

    Args:
        x: It.
    """
    return x


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (nameless, ["'nameless'", "no type hint for its parameter 'y'", "`y: str`"]),
        (silent, ["'silent'", "no description of its parameter 'y'", "`y: what it is`"]),
        (undocumented, ["'undocumented'", "no description", "docstring"]),
        (hidden, ["'hidden'", "'x'", "Unknown", "TYPE_CHECKING"]),
        (starred, ["'starred'", "*words"]),
        (double_starred, ["'double_starred'", "**words"]),
        (beating, ["'beating'", "'request_heartbeat'", "Rename"]),
        (yielding, ["'yielding'", "yields"]),
        (naïve, ["'naïve'", "name"]),
        (misbound, ["'misbound'", "'z'", "bound"]),
        (taking(complex), ["'taker'", "'value'", "complex"]),
        (taking(list[complex]), ["'value'", "complex"]),
        (taking(Odd), ["'value'", "complex", "'what' of Odd"]),
        (taking(Bits), ["'value'", "flags"]),
        (taking(Shapes), ["'value'", "Shapes"]),
        (taking(Row), ["'value'", "Row", "list"]),
        (taking(dict[tuple[int, int], str]), ["'value'", "keys"]),
        (taking(typing.TypeVar("T")), ["'value'", "T"]),
        (taking(int, object()), ["'value'", "default", "object"]),
        (taking(float, float("inf")), ["'value'", "default", "inf"]),
        (taking("int["), ["'value'", "can't be read"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_mistake_names_the_function_its_file_and_the_parameter(target, words):
    with pytest.raises(ConfigError) as caught:
        tool_of(target)
    for word in [*words, __file__]:
        assert word in str(caught.value)
