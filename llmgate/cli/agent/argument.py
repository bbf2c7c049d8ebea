"""One string argument of a call, read while the call is still being written."""

from __future__ import annotations

_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class StringArgument:
    """Decodes a member of the outermost JSON object, as its text comes in pieces.

    What is no JSON gives whatever can be made of it: the finished call is what counts, this only
    shows it early.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._depth = 0
        self._key = ""
        self._at_value = False
        self._in_string = False
        # The characters of an escape so far, None outside of one.
        self._escape: str | None = None
        self._high = 0

    def feed(self, piece: str) -> str:
        """What the piece adds to the argument's value."""
        out: list[str] = []
        for character in piece:
            if not self._in_string:
                self._outside(character)
                continue
            decoded = self._inside(character)
            if decoded is None:
                self._in_string = False
                decoded = self._lone_half()
                self._take(decoded, out)
                if self._depth == 1 and self._at_value:
                    self._key = ""
            elif decoded:
                self._take(decoded, out)
        return "".join(out)

    def _take(self, decoded: str, out: list[str]) -> None:
        if self._depth != 1:
            return
        if not self._at_value:
            self._key += decoded
        elif self._key == self._name:
            out.append(decoded)

    def _outside(self, character: str) -> None:
        match character:
            case '"':
                self._in_string = True
                if not self._at_value and self._depth == 1:
                    self._key = ""
            case "{" | "[":
                self._depth += 1
                self._at_value = self._depth > 1
            case "}" | "]":
                self._depth -= 1
            case ":" if self._depth == 1:
                self._at_value = True
            case "," if self._depth == 1:
                self._at_value = False

    def _inside(self, character: str) -> str | None:
        """The decoded text that the character completes, None for the end of the string."""
        if self._escape is None:
            if character == '"':
                return None
            if character == "\\":
                self._escape = ""
                return ""
            return self._lone_half() + character
        self._escape += character
        if self._escape[0] != "u":
            self._escape = None
            return self._lone_half() + _ESCAPES.get(character, character)
        if len(self._escape) < 5:
            return ""
        digits, self._escape = self._escape[1:], None
        try:
            unit = int(digits, 16)
        except ValueError:
            return self._lone_half() + "\ufffd"
        if 0xD800 <= unit < 0xDC00:
            before, self._high = self._lone_half(), unit
            return before
        if 0xDC00 <= unit < 0xE000 and self._high:
            high, self._high = self._high, 0
            return chr(0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00))
        return self._lone_half() + ("\ufffd" if 0xDC00 <= unit < 0xE000 else chr(unit))

    def _lone_half(self) -> str:
        """What stands for the first half of a character whose second one has not come."""
        half, self._high = self._high, 0
        return "\ufffd" if half else ""
