"""JSON that is still being written, read piece by piece."""

from __future__ import annotations

import math
import re
from typing import Any

from llmgate.errors import OutputError
from llmgate.repair import Repaired, loads
from llmgate.repair.strict import restarted

_SPACE = re.compile(r"[ \t\r\n]*+")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*+')
_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt])|u([0-9a-fA-F]{4}))')
_CUT_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?([eE][-+]?[0-9]++)?")
_CUT_NUMBER = re.compile(
    r"-?(?:(?:0|[1-9][0-9]*+)(?:\.[0-9]*+)?(?:(?<=[0-9])[eE][-+]?[0-9]*+)?)?\Z"
)
_LITERALS = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}
_KNOWN = dict(zip('"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True))
_MOST_DIGITS = 300
# As far back as `loads` looks for a token that ends the turn.
_TAIL = 60
# What may come next.
_VALUE, _FIRST, _KEY, _FIRST_KEY, _COLON, _NEXT, _STRING, _DONE = range(8)
_NOTHING = object()


class Partial:
    """The value of a JSON text as far as it has come, kept up to date in constant time.

    `value` is what `loads` makes of the text so far, None where that finds no JSON: objects
    and arrays that are open are closed, an open string is what there is of it, and a number at
    the very end, half a literal and a key without a value are left out. It is one object that
    grows; copy it to keep a state. `truncated` says whether it is still open.

    Feeding costs time in proportion to the piece, reading the value in proportion to the
    string that is open. Text that is not the beginning of valid JSON is read anew with `loads`
    at each reading of the value after something was fed.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._tail = ""
        # What is left of the last piece because it can't be judged yet.
        self._rest = ""
        self._state = _VALUE
        self._root: Any = _NOTHING
        self._stack: list[dict[str, Any] | list[Any]] = []
        self._key = ""
        # The open string: whether it is a key, its contents, half a surrogate pair behind them,
        # and whether it stands in its place already.
        self._is_key = False
        self._string: list[str] = []
        self._high = ""
        self._placed = False
        # What `loads` made of a text that is not the beginning of valid JSON.
        self._broken = False
        self._read: Repaired | None = None

    def feed(self, text: str) -> None:
        """Add what came next."""
        if not text:
            return
        self._pieces.append(text)
        self._tail = (self._tail + text)[-_TAIL:]
        self._read = None
        if not self._broken:
            text = self._rest + text
            self._rest = ""
            at: int | None = 0
            while at is not None and at < len(text):
                at = self._step(text, at)

    @property
    def text(self) -> str:
        """All that was fed."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    @property
    def value(self) -> Any:
        """The value so far."""
        if self._for_loads():
            found = self._loads()
            return None if found is None else found.value
        if self._state == _STRING and not self._is_key:
            self._string = ["".join(self._string)]
            if not self._stack:
                return self._string[0]
            self._put(self._string[0])
        return self._inner() or self._root

    @property
    def truncated(self) -> bool:
        """Whether the value is not whole yet."""
        if self._for_loads():
            found = self._loads()
            return found is None or found.truncated
        return self._state != _DONE and self._inner() is None

    def _for_loads(self) -> bool:
        """Whether only `loads` can tell: no object or array, or perhaps the end of a turn."""
        if self._broken or (self._root is _NOTHING and self._state != _STRING):
            return True
        if self._state != _STRING or not self._tail:
            return False
        last = self._tail.rstrip()
        return not last or (last[-1] in ">]" and _ends_turn(last))

    def _inner(self) -> Any:
        """The object that began again inside its prefix, if that is all that there is."""
        if len(self._stack) == 1 and self._state == _NEXT:
            return restarted(self._root)
        return None

    def _loads(self) -> Repaired | None:
        if self._read is None:
            try:
                self._read = loads(self.text)
            except OutputError:
                return None
        return self._read

    def _step(self, text: str, at: int) -> int | None:
        """Read one token; where the next begins, None if there is none yet or ever."""
        state = self._state
        if state == _STRING:
            return self._in_string(text, at)
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing too
        char = text[at : at + 1]
        if not char:
            return None
        if state in (_VALUE, _FIRST) and char != "]":
            return self._begin(text, at, char)
        if char == '"' and state in (_KEY, _FIRST_KEY):
            self._open_string(is_key=True)
        elif char == ":" and state == _COLON:
            self._state = _VALUE
        elif char == "," and state == _NEXT:
            self._state = _KEY if isinstance(self._stack[-1], dict) else _VALUE
        elif (char == "}" and self._closes(_FIRST_KEY, dict)) or (
            char == "]" and self._closes(_FIRST, list)
        ):
            self._stack.pop()
            self._state = _NEXT if self._stack else _DONE
        else:
            self._broken = True
            return None
        return at + 1

    def _closes(self, empty: int, kind: type) -> bool:
        closes = self._state in (empty, _NEXT) and bool(self._stack)
        return closes and isinstance(self._stack[-1], kind)

    def _begin(self, text: str, at: int, char: str) -> int | None:
        """Read a value, or open it."""
        if char == '"':
            self._open_string(is_key=False)
            return at + 1
        if char in "{[":
            items: dict[str, Any] | list[Any] = {} if char == "{" else []
            self._place(items)
            self._stack.append(items)
            self._state = _FIRST_KEY if char == "{" else _FIRST
            return at + 1
        if char in _LITERALS:
            word, value = _LITERALS[char]
            if text.startswith(word, at):
                self._place(value)
                return at + len(word)
            if word.startswith(text[at:]):
                self._rest = text[at:]
                return None
            self._broken = True
            return None
        return self._number(text, at)

    def _number(self, text: str, at: int) -> int | None:
        found = _NUMBER.match(text, at)
        end = found.end() if found else at
        if end == len(text) or _CUT_NUMBER.match(text, at):
            if len(text) - at > _MOST_DIGITS:
                self._broken = True
                return None
            self._rest = text[at:]
            return None
        if found is None or text[end] not in " \t\r\n,]}" or end - at > _MOST_DIGITS:
            self._broken = True
            return None
        whole = found[1] is None and found[2] is None
        number = int(found[0]) if whole else float(found[0])
        if isinstance(number, float) and not math.isfinite(number):
            self._broken = True
            return None
        self._place(number)
        return end

    def _place(self, value: Any) -> None:
        """Put a value where it belongs."""
        if self._stack:
            self._put(value)
            self._placed = False
            self._state = _NEXT
        else:
            self._root = value
            self._state = _DONE

    def _put(self, value: Any) -> None:
        items = self._stack[-1]
        if isinstance(items, dict):
            items[self._key] = value
        elif self._placed:
            items[-1] = value
        else:
            items.append(value)
        self._placed = True

    def _open_string(self, *, is_key: bool) -> None:
        self._state, self._is_key = _STRING, is_key
        self._string, self._high, self._placed = [], "", False

    def _in_string(self, text: str, at: int) -> int | None:
        """Read on in the open string."""
        end = _PLAIN.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing too
        if end > at:
            self._add(text[at:end])
        char = text[end : end + 1]
        if not char:
            return None
        if char == '"':
            self._add("")
            contents = "".join(self._string)
            if self._is_key:
                self._key, self._state = contents, _COLON
            else:
                self._place(contents)
            return end + 1
        escape = _ESCAPE.match(text, end)
        if escape is None:
            if _CUT_ESCAPE.match(text, end):
                self._rest = text[end:]
                return None
            self._broken = True
            return None
        self._add(_KNOWN[escape[1]] if escape[1] else chr(int(escape[2], 16)), escaped=True)
        return escape.end()

    def _add(self, contents: str, *, escaped: bool = False) -> None:
        """Add to the open string; halves of a pair that are both escaped are one character."""
        if self._high:
            if escaped and "\udc00" <= contents <= "\udfff":
                pair = (self._high + contents).encode("utf-16-le", "surrogatepass")
                contents = pair.decode("utf-16-le")
            else:
                self._string.append(self._high)
            self._high = ""
        if escaped and "\ud800" <= contents <= "\udbff":
            self._high = contents
        else:
            self._string.append(contents)


def _ends_turn(text: str) -> bool:
    from llmgate.repair.patterns import LAST_TOKEN

    return LAST_TOKEN.search(text) is not None
