"""Arguments as marked texts, one per parameter: strings as they are, all else as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from llmgate.grammar.builder import Builder, quote
from llmgate.grammar.calls.layout import Layout, Node, free_word, words
from llmgate.grammar.calls.marks import BLANK, expression
from llmgate.grammar.calls.until import free, text_rule, until, word
from llmgate.grammar.dialect import plain
from llmgate.styles import Style

if TYPE_CHECKING:
    from llmgate.grammar.schema.facts import Located
    from llmgate.grammar.text.language import Language

_STRINGS: Final[dict[str, Any]] = {"type": "string"}
_OTHERS: Final[dict[str, dict[str, Any]]] = {
    kind: {"type": kind} for kind in ("number", "boolean", "null", "array", "object")
}
_SECTIONS: Final[dict[str, Any]] = {"type": "string"}
_NO_STRINGS: Final[dict[str, Any]] = {"type": list(_OTHERS)}
# How texts begin that a reader might take for a value of a type, or for a string in quotes.
_MISTAKEN: Final = {
    "number": "[0-9-]",
    "boolean": r"(?:true|false)\s*$",
    "null": r"null\s*$",
    "array": r"\[",
    "object": r"\{",
}
_CDATA, _CDATA_END = "<![CDATA[", "]]>"


class Parameters(Layout):
    """The layout of the styles whose arguments are `parameters`."""

    repeats = False

    def __init__(self, builder: Builder, style: Style) -> None:
        super().__init__(builder)
        self.open = self.comma = self.gap = self.end = ""
        self._begin, self._middle, end = style.parameter
        self._end = end.strip()
        self._cdata = style.cdata
        # A line break at the value's ends belongs to the marks.
        self._first = "\n" if self._middle.endswith("\n") else ""
        self._last = "\n" if end.startswith("\n") else ""
        self._behind = BLANK if end[-1:].isspace() else ""
        self._flag = next((one for one in ("{string}", "{type}") if one in self._middle), "")
        # Schemas that are made here live as long as what is compiled with them.
        self._made: list[dict[str, Any]] = []

    def value(self, maker: Node, parts: tuple[Located, ...], name: str) -> str | None:
        if not self.writable(name):
            return None
        return self._value(maker, parts, name)

    def other_value(self, maker: Node, parts: tuple[Located, ...]) -> str | None:
        return self._value(maker, parts, "value")

    def free_key(self, taken: list[str]) -> str | None:
        return free_word(self.builder, taken)

    def writable(self, name: str) -> bool:
        stop = self._middle.strip()[:1]
        return bool(name) and stop not in name and not any(map(str.isspace, name))

    def thoughts(self) -> str:
        return self._strings(free(self.builder, self._end))

    def pair(self, name: str, value: str) -> str:
        return f"{quote(f'{self._begin}{name}')} {value}"

    def other_pair(self, key: str, value: str) -> str:
        return self.builder.rule("pair", f"{quote(self._begin)} {key} {value}")

    def key(self, language: Language) -> str | None:
        return words(self.builder, language)

    def _value(self, maker: Node, parts: tuple[Located, ...], hint: str) -> str | None:
        schema, path = parts[0]
        # Most parameters name their one type: then there is nothing to be told apart.
        alone = len(parts) == 1 and isinstance(schema, dict) and "$ref" not in schema
        kind = schema.get("type") if alone else None
        string = None
        if kind == "string":
            string = self._string_node(maker, (*parts, (_STRINGS, path)), hint)
            ways = [] if string is None else self._texts(maker, parts, path, string, hint)
            return self._either(ways, hint)
        if isinstance(kind, str):
            found = maker.node(parts, hint)
            flag = "number" if kind == "integer" else kind
            flag = "false" if self._flag == "{string}" else flag
            return None if found is None else self._others(found, flag)
        string = self._string_node(maker, (*parts, (_STRINGS, path)), hint)
        if string is None or self._flag:
            ways = [] if string is None else self._texts(maker, parts, path, string, hint)
            ways += self._by_type(maker, parts, path, hint)
        else:
            ways = self._mixed(maker, parts, path, string, hint)
        return self._either(ways, hint)

    def _either(self, ways: list[str], hint: str) -> str | None:
        if len(ways) < 2:
            return ways[0] if ways else None
        return self.builder.rule(hint, " | ".join(ways))

    def _by_type(self, maker: Node, parts: tuple[Located, ...], path: str, hint: str) -> list[str]:
        """Values that are no strings, with the flag that says so, if there is one."""
        if self._flag != "{type}":
            found = maker.node((*parts, (_NO_STRINGS, path)), hint)
            return [] if found is None else [self._others(found, "false")]
        ways = []
        for kind, schema in _OTHERS.items():
            found = maker.node((*parts, (schema, path)), hint)
            if found is not None:
                ways.append(self._others(found, kind))
        return ways

    def _mixed(
        self, maker: Node, parts: tuple[Located, ...], path: str, string: str, hint: str
    ) -> list[str]:
        """Strings beside values of other types, which a reader tells by what they look like."""
        others: dict[str, str] = {}
        if maker.node((*parts, (_NO_STRINGS, path)), hint) is not None:
            for kind, schema in _OTHERS.items():
                found = maker.node((*parts, (schema, path)), hint)
                if found is not None:
                    others[kind] = found
        if not others:
            return self._texts(maker, parts, path, string, hint)
        any_text = string == free(self.builder, self._end)
        whole = (*map(self.builder.use, _OTHERS), self.builder.use("integer"))
        if any_text and all(found in whole for found in others.values()):
            # Whatever the text is taken for, it is right.
            return [self._strings(string)]
        ways = "|".join(_MISTAKEN[kind] for kind in others)
        apart: dict[str, Any] = {
            "type": "string",
            "not": {"type": "string", "pattern": rf'^(?:[\s"]|{ways})'},
        }
        self._made.append(apart)
        found = self._string_node(maker, (*parts, (apart, path)), hint)
        either = list(dict.fromkeys(others.values()))
        json = either[0] if len(either) == 1 else self.builder.rule(hint, " | ".join(either))
        return [*([] if found is None else [self._strings(found)]), self._others(json, "")]

    def _texts(
        self, maker: Node, parts: tuple[Located, ...], path: str, string: str, hint: str
    ) -> list[str]:
        """The ways to write a string that is no other value."""
        ways = [self._strings(string)]
        if self._cdata and string != free(self.builder, self._end):
            found = self._string_node(maker, (*parts, (_SECTIONS, path)), hint, _CDATA_END)
            if found is not None:
                marks = (self._between(""), quote(_CDATA), found, quote(f"{_CDATA_END}{self._end}"))
                ways.append(_joined(*marks, self._behind))
        return ways

    def _string_node(
        self, maker: Node, parts: tuple[Located, ...], hint: str, end: str = ""
    ) -> str | None:
        """An expression for strings as they are, without the mark that ends them."""
        before = self.builder.dialect
        self.builder.dialect = plain(end or self._end)
        try:
            return maker.node(parts, hint)
        finally:
            self.builder.dialect = before

    def _strings(self, text: str) -> str:
        """A string between its marks."""
        middle = self._between("true" if self._flag == "{string}" else "string")
        if text != free(self.builder, self._end):
            first, last = (quote(mark) if mark else "" for mark in (self._first, self._last))
            return _joined(middle, first, text, last, quote(self._end), self._behind)
        if not self._cdata:
            return _joined(middle, until(self.builder, self._end), self._behind)
        return _joined(middle, self._sectioned(), self._behind)

    def _sectioned(self) -> str:
        """Any text up to its end mark, or one in a CDATA section, which may have the mark in it."""
        known = self.builder.shared.get(("cdata", self._end))
        if known is None:
            section = f"{until(self.builder, _CDATA_END)} {quote(self._end)}"
            words = [word(_CDATA, "first", 0), word(self._end, "anywhere", 1)]
            known = text_rule(self.builder, "text", words, [section, ""], ends=False)
            self.builder.shared["cdata", self._end] = known
        return known

    def _others(self, value: str, flag: str) -> str:
        """JSON between its marks."""
        blank = BLANK if self._first or self._last else ""
        return _joined(self._between(flag), blank, value, blank, quote(self._end), self._behind)

    def _between(self, flag: str) -> str:
        middle = self._middle[: len(self._middle) - len(self._first)]
        return expression(middle.replace(self._flag, flag) if self._flag else middle)


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
