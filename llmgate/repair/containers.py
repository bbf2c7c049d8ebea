"""Objects and arrays in faulty JSON: opened, filled, and closed though brackets don't match."""

from __future__ import annotations

from typing import Any

from llmgate.repair import patterns as p
from llmgate.repair.cursor import Container
from llmgate.repair.scalars import Scalars
from llmgate.repair.shapes import Shape, Shapes
from llmgate.repair.strict import STRICT, deep_error, too_deep

NOTHING = object()


class Containers(Scalars):
    """Opens and closes; where brackets don't match, the rest of the text is counted.

    `after`: a value stands before the position; `comma`: where a comma does, else -1.
    """

    after = False
    comma = -1
    # How many more brackets close than open from `_counted` on, of objects and of arrays.
    _counted = -1
    _objects = _arrays = 0

    def __init__(
        self, text: str, shapes: Shapes | None = None, max_depth: int | None = None
    ) -> None:
        super().__init__(text, shapes)
        self.max_depth = max_depth
        self._scan_once = STRICT.scan_once  # type: ignore[attr-defined]  # typeshed lacks it
        # What attempts to decode whole parts may cost, in characters, before they stop.
        self._scans = 4 * len(text) + 4_000
        self.failed = -1
        self.lopsided = shapes is not None and (
            text.count("{") != text.count("}") or text.count("[") != text.count("]")
        )

    @property
    def spent(self) -> bool:
        """Whether nothing is decoded at once any more, and nothing else is to be looked at."""
        return self._scans < 0 and self.shapes is None and self.max_depth is None

    def scan(self, start: int, form: Shape | None) -> Any:
        """The value at `start` if it is valid to its end, where the position is then."""
        if self._scans < 0 or start == self.failed:
            return NOTHING
        self.failed = start
        try:
            value, end = self._scan_once(self.text, start)
        except StopIteration as stop:
            self._scans -= stop.value - start + 500
            return NOTHING
        except RecursionError:
            self._scans -= 50_000
            return NOTHING
        except ValueError as error:
            # The error counts the lines before it, from the beginning of the text.
            at = getattr(error, "pos", len(self.text))
            self._scans -= at - start + at // 16 + 500
            return NOTHING
        if self.max_depth is not None and too_deep(value, self.max_depth - len(self.stack)):
            raise deep_error(self.max_depth, self.text)
        if self.lopsided and self.shapes is not None:  # noqa: SIM102 - two questions
            if self.shapes.strange(value, form, self.forms):
                return NOTHING
        self.pos = end
        return value

    def open(self, form: Shape | None) -> None:
        """Read the object or array at the position at once, if that can be, else open it."""
        start = self.pos
        if form is not None and self.shapes is not None and not form.may("object"):
            # Perhaps the whole object begins again here.
            form = self.shapes.root if len(self.stack) == 1 and not self.stack[0] else None
        value = self.scan(start, form)
        if value is not NOTHING and not self._goes_on_inside(value, form):
            self.put(value)
            return
        items: Container = {} if self.text[start] == "{" else []
        self.put(items)
        self.push(items, form)
        self.pos = start + 1

    def _goes_on_inside(self, value: Container, form: Shape | None) -> bool:
        """Whether the value that was read at once may have been closed too early."""
        text, top = self.text, self.stack[-1]
        if isinstance(value, list):
            return isinstance(top, dict) and p.MORE_ITEMS.match(text, self.pos) is not None
        if isinstance(top, dict) and not self.lopsided:
            return False
        more = p.MORE_MEMBERS.match(text, self.pos)
        if more is None or isinstance(top, list):
            return more is not None
        return self.belongs_inside(more[1] or more[2], form, self.form(), value)

    def push(self, items: Container, form: Shape | None = None) -> None:
        """Open an object or array inside the innermost one.

        Raises OutputError if that is nested deeper than allowed.
        """
        if self.max_depth is not None and len(self.stack) >= self.max_depth:
            raise deep_error(self.max_depth, self.text)
        self.stack.append(items)
        if self.shapes is not None:
            self.forms.append(form)
        if isinstance(items, dict):
            self.dicts += 1
        self.after, self.comma = False, -1

    def put(self, value: Any) -> None:
        """Add a value to the innermost open object or array."""
        items = self.stack[-1]
        if isinstance(items, dict):
            items[self.key] = value
        else:
            items.append(value)
        self.after, self.comma = True, -1

    def pop(self) -> None:
        """Close the innermost object or array."""
        if isinstance(self.stack.pop(), dict):
            self.dicts -= 1
        if self.forms:
            self.forms.pop()
        self.after, self.comma = True, -1

    def next_form(self) -> Shape | None:
        """The shape of the value that comes next."""
        if self.shapes is None:
            return None
        items = self.stack[-1]
        if isinstance(items, dict):
            return self.shapes.member(self.forms[-1], self.key)
        return self.shapes.item(self.forms[-1], len(items))

    def close(self, char: str) -> None:
        """Take a closing bracket: of the innermost, of an outer one, or of nothing."""
        if self.comma >= 0:
            self.edit("trailing", self.comma)
            self.comma = -1
        top = self.stack[-1]
        if char == ")":
            levels = int(isinstance(top, list))
        elif isinstance(top, dict) == (char == "}"):
            # The usual: what stands around goes on, or is closed too.
            behind = self.text[self.pos + 1 : self.pos + 2]
            levels = 1 if behind in "}]" else int(not self._early(top))
        else:
            levels = self._reconciled(char)
        if not levels:
            self.edit("extra")
        for _ in range(levels - 1):
            self.edit("closer")
            self.pop()
        if levels:
            self.pop()
        self.pos += 1
        self.after = True

    def _early(self, top: Container) -> bool:
        """Whether the innermost goes on behind the bracket that would close it."""
        parent = self.stack[-2] if len(self.stack) > 1 else None
        if self.shapes is None and isinstance(parent, type(top)):
            return False
        needed, key = self._needed()
        if needed is None or not isinstance(top, needed):
            return False
        if isinstance(top, list):
            return not isinstance(parent, list) and self._balance("]") > 0
        if isinstance(parent, dict):
            form, outer = self.form(), self.form(-2)
            return self.belongs_inside(key, form, outer, top) and self._balance("}") > 0
        return parent is None or self._balance("]") >= 0

    def belongs_inside(
        self, key: str, form: Shape | None, outer: Shape | None, items: Container
    ) -> bool:
        """Whether only the object that is being closed can have a key, by the schema."""
        if form is None or outer is None or key not in form.known:
            return False
        if key in outer.known or key in items:
            return False
        return outer.closed or key in form.required

    def _needed(self) -> tuple[type | None, str]:
        """What has to be open for what stands behind a bracket, and the key there if any."""
        text = self.text
        if more := p.MORE_MEMBERS.match(text, self.pos + 1):
            return dict, more[1] or more[2]
        return (list if p.MORE_ITEMS.match(text, self.pos + 1) else None), ""

    def _reconciled(self, char: str) -> int:
        """How many levels a bracket of another kind than the innermost closes."""
        wanted, other = (dict, "]") if char == "}" else (list, "}")
        surplus, lacking = self._balance(char) > 0, self._balance(other) < 0
        opened = self.dicts if wanted is dict else len(self.stack) - self.dicts
        depth = 1
        while opened and not isinstance(self.stack[-depth], wanted):
            depth += 1
        # All up to one of its kind, the innermost though it is of another kind, or nothing.
        options = [1, depth, 0] if opened else [1, 0]
        if opened and lacking and not surplus:
            options.insert(0, depth)
        elif surplus and not lacking:
            options.insert(0, 0)
        needed, _ = self._needed()
        fitting = (levels for levels in options if self._goes_on(levels, needed))
        levels = next(fitting, options[0])
        if levels == 1:
            self.edit("kind")
        return levels

    def _goes_on(self, levels: int, needed: type | None) -> bool:
        """Whether what is needed is open when so many levels are closed."""
        if needed is None:
            return True
        return levels < len(self.stack) and isinstance(self.stack[-1 - levels], needed)

    def _balance(self, char: str) -> int:
        """How many more brackets of a kind close from here on than are open here."""
        if self._counted < 0:
            start, end, sign = self.pos, len(self.text), 1
        else:
            start, end, sign = self._counted, self.pos, -1
        for found in p.BRACKETS.finditer(self.text, start, end):
            match found[0]:
                case "}":
                    self._objects += sign
                case "{":
                    self._objects -= sign
                case "]":
                    self._arrays += sign
                case "[":
                    self._arrays -= sign
        self._counted = self.pos
        if char == "}":
            return self._objects - self.dicts
        return self._arrays - (len(self.stack) - self.dicts)
