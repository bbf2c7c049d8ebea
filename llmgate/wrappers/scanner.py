"""Reads one call as it comes, piece by piece, in whatever style it is written.

What it passes on is final. Arguments that are JSON are passed on exactly as the model wrote
them. Each character is looked at a bounded number of times, however the text is cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from llmgate.styles import Style
from llmgate.wrappers.arguments import Parameters, json_arguments
from llmgate.wrappers.literals import Gemma, Python
from llmgate.wrappers.marks import mark, search
from llmgate.wrappers.source import (
    MAX_WORD,
    Event,
    Kind,
    Source,
    Steps,
    Unreadable,
    end_of,
    ends_in_string,
)
from llmgate.wrappers.spec import Thoughts

__all__ = ["Event", "StyleScanner", "Unreadable", "ends_in_string"]

# What models write beside a call's name and arguments, and nobody needs.
_IGNORED = frozenset({"id", "tool_call_id", "call_id", "index", "type"})
_NAME = re.compile(r"""[^\s<>{}()\[\]"'|,=]+""")


class StyleScanner:
    """Reads one call, from its `begin` mark to its `end` mark.

    Events come in this order: the name once, then the arguments' pieces; thoughts where they
    stand; at last `end`. After that `rest` holds what followed the call, and `done` is true.
    `whole` is true as soon as name and arguments are complete, so that only the end mark, which
    may be a token that no backend shows, can be missing.
    """

    def __init__(
        self,
        style: Style,
        schemas: Mapping[str, Mapping[str, Any]],
        *,
        place: Thoughts = "off",
        thoughts_key: str = "inner_thoughts",
    ) -> None:
        """`schemas`: those of the functions' arguments, by name.

        `place` is where the model writes its thoughts. A function that has a parameter of the
        name `thoughts_key` itself keeps it.
        """
        self._style = style
        self._schemas = schemas
        self._place = place
        self._thoughts_key = thoughts_key
        self._source = Source()
        self._steps = self._call()
        self._error: Unreadable | None = None
        self.done = False
        self.whole = False

    @property
    def rest(self) -> str:
        """Text after the call, or where only its end mark is missing, after the arguments."""
        return self._source.text[self._source.at :] if self.whole else ""

    def feed(self, text: str) -> Iterator[Event]:
        """Events that `text` makes certain, as few as possible.

        Raises `Unreadable` behind the last of them if the text is no such call.
        """
        if self._error is not None:
            raise self._error
        self._source.feed(text)
        kind: Kind | None = None
        pieces: list[str] = []
        while not self.done:
            try:
                event = next(self._steps)
            except Unreadable as error:
                self._error = error
                break
            if event is None:
                break
            if event.kind != kind:
                if kind is not None:
                    yield Event(kind, "".join(pieces))
                kind, pieces = event.kind, []
            pieces.append(event.text)
            self.done = kind == "end"
        if kind is not None:
            yield Event(kind, "".join(pieces))
        if self._error is not None:
            raise self._error

    def _call(self) -> Steps[None]:
        style, end = self._style, self._style.end
        if style.begin:
            begins = (style.begin, *style.begins)
            which, _ = yield from self._source.mark([mark(text) for text in begins])
            if which and style.ends:
                end = style.ends[which - 1]
        if style.head == "object":
            yield from self._object()
        elif style.head == "keyed":
            yield from self._keyed()
        else:
            yield from self._named(end)
        self.whole = True
        if end and style.arguments == "json":
            yield from self._source.mark((mark(end),))
        yield Event("end")

    def _named(self, end: str) -> Steps[None]:
        style, source = self._style, self._source
        yield from source.skip_space()
        name = yield from self._function_name()
        yield Event("name", name)
        schema, inner, ends = self._schemas.get(name, {}), self._inner(name), (mark(end),)
        if style.arguments == "json":
            yield from json_arguments(source, inner)
        elif style.arguments == "parameters":
            yield from Parameters(source, style, schema).arguments(ends, inner)
        else:
            literals = Python(source) if style.arguments == "python" else Gemma(source)
            names = [inner] if inner else []
            yield from literals.arguments(ends, [*names, *schema.get("properties", {})], inner)

    def _function_name(self) -> Steps[str]:
        """A function's name and what stands between it and the arguments."""
        source, middles = (
            self._source,
            [mark(t) for t in (self._style.middle, *self._style.middles)],
        )
        while True:
            if middles[0].empty:
                end = end_of(_NAME, source.text, source.at)
                after = end if end < len(source.text) else None
            else:
                end, after = search(middles, source.text, source.at)
            name = source.text[source.at : end].rstrip()
            if end - source.at > MAX_WORD or (name and not _NAME.fullmatch(name)):
                raise Unreadable("what stands where the function's name should be is none")
            if after is not None:
                if not name:
                    raise Unreadable("the call has no function's name")
                source.at = after
                return name
            yield None

    def _object(self) -> Steps[None]:
        """An object with the name and the arguments. Arguments before the name wait for it."""
        style, source = self._style, self._source
        name: str | None = None
        held: str | None = None
        passed_on = False
        yield from source.expect("{")
        while True:
            key = yield from source.string("a key")
            yield from source.expect(":")
            if key == style.function_key and name is None:
                name = yield from source.string("the function's name")
                yield Event("name", name)
            elif key == self._thoughts_key and self._place == "beside":
                yield from source.thoughts()
            elif key == style.arguments_key and held is None and not passed_on:
                if name is None:
                    yield from source.peek("{")
                    held = yield from source.skipped()
                else:
                    yield from json_arguments(source, self._inner(name))
                    passed_on = True
            elif key in _IGNORED:
                yield from source.skipped()
            else:
                raise Unreadable(f"the key {key!r} was not expected here")
            if name is not None and held is not None and not passed_on:
                yield from json_arguments(Source(held), self._inner(name))
                passed_on = True
            if (yield from source.expect(",}")) == "}":
                break
        if name is None:
            raise Unreadable(f"the call has no {style.function_key!r}")
        if not passed_on:
            yield Event("arguments", "{}")

    def _keyed(self) -> Steps[None]:
        source = self._source
        yield from source.expect("{")
        name = yield from source.string("the function's name")
        yield Event("name", name)
        yield from source.expect(":")
        yield from json_arguments(source, self._inner(name))
        yield from source.expect("}")

    def _inner(self, name: str) -> str | None:
        """The key of the thoughts among the arguments of a function, None if they have none."""
        own = self._thoughts_key in self._schemas.get(name, {}).get("properties", {})
        return None if self._place != "inside" or own else self._thoughts_key
