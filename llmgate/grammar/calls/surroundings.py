"""What stands around the calls of an answer: thoughts, words, and the marks of a style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llmgate.grammar.builder import Builder, quote
from llmgate.grammar.calls.heads import Calls, Thoughts
from llmgate.grammar.calls.marks import BLANK, BLANKS, expression, is_word, split
from llmgate.grammar.calls.until import Where, Word, all_but, text_rule, until, word
from llmgate.styles import Pair, Style

# Words before a required call are bounded, so that a model comes to the call.
_MOST_SAID: Final = 600
_MOST_BLOCKS: Final = 4
# What nearly every model that thinks puts around it, whatever its template says.
_THINK: Final[Pair] = ("<think>", "</think>")
# Longer lists of names make a large automaton; then lines are told apart by less.
_MOST_NAMED: Final = 400


class Surroundings:
    """Answers in one style: what may stand before and behind `calls`, None where there are none."""

    def __init__(
        self,
        builder: Builder,
        style: Style,
        calls: Calls | None,
        names: Sequence[str],
        reasoning: tuple[Pair, ...],
        opened: str,
    ) -> None:
        self._builder = builder
        self._style = style
        self._calls = calls
        self._names = names
        self._reasoning = tuple(dict.fromkeys(reasoning))
        self._opened = opened

    def required(self, thoughts: Thoughts) -> str:
        """Calls and nothing else but thoughts before them."""
        assert self._calls is not None
        said = ""
        if thoughts == "beside" and self._style.head != "object":
            said = self._said()
        frame = self._opened_frame()
        start = self._thinking()
        if frame is not None:
            start = self._inside(frame)
        return _joined(start or self._lead(), said, self._calls.all())

    def lazy(self) -> str:
        """Calls from their first mark on."""
        assert self._calls is not None
        return self._calls.all()

    def free(self) -> str:
        """Words, in which calls may begin, or calls."""
        style = self._style
        frame = self._opened_frame()
        if frame is not None:
            return self._framed(frame)
        ways = []
        if style.frames:
            ways = [_joined(expression(pair[0]), self._framed(pair)) for pair in style.frames]
            if self._calls is not None:
                ways += self._begun()
            start = self._thinking(default=True) or self._lead()
            return f"{start} ({' | '.join(ways)})"
        text = self._text()
        if self._calls is not None and style.bare:
            other = "".join(f"({expression(mark)} {BLANK})? " for mark in style.opens)
            ways = [f"{BLANK} {other}{self._calls.all()}"]
        ways.append(text)
        either = ways[0] if len(ways) == 1 else f"({' | '.join(ways)})"
        return _joined(self._thinking(default=True), either)

    def valued(self, value: str) -> str:
        """A value or calls; `value` is its expression."""
        style = self._style
        frame = self._opened_frame()
        if frame is not None:
            return _joined(BLANK, value, BLANK, _optional(expression(frame[1])), BLANK)
        ways = []
        for open_, close in style.frames:
            way = (expression(open_), BLANK, value, BLANK, _optional(expression(close)))
            ways.append(_joined(*way, BLANK))
        if not style.frames:
            ways.append(_joined(value, BLANK))
        if self._calls is not None:
            ways.append(self._calls.all())
        start = self._thinking(default=True) or self._lead()
        return f"{start} {ways[0]}" if len(ways) == 1 else f"{start} ({' | '.join(ways)})"

    def _lead(self) -> str:
        return BLANK if self._style.bare else BLANKS

    def _pairs(self, default: bool) -> tuple[Pair, ...]:
        if not default:
            return self._reasoning
        return tuple(dict.fromkeys((*self._reasoning, *(self._style.reasoning or (_THINK,)))))

    def _thinking(self, *, default: bool = False) -> str:
        """Thoughts at the beginning of an answer, with blanks before and behind; perhaps empty.

        `default`: also in the marks that any model might use, where none has to be known.
        """
        pairs = self._pairs(default)
        opened = self._opened if self._opened_frame() is None else ""
        if not pairs and not opened:
            return ""
        apart = _joined(BLANKS, self._skipped(1), BLANK if self._style.skip else "")
        parts = []
        if opened:
            parts.append(f"{until(self._builder, opened)} {apart}")
        if pairs:
            ways = [_joined(expression(a), until(self._builder, b), apart) for a, b in pairs]
            block = self._builder.rule("thoughts", " | ".join(ways))
            several = self._style.reasoning and not opened
            parts.append(f"{block}{{0,{_MOST_BLOCKS}}}" if several else f"{block}?")
        return " ".join(parts if opened else [self._lead(), *parts])

    def _text(self) -> str:
        """A rule for words at the beginning of an answer, with the calls in them."""
        style = self._style
        words = [word(open_, "start") for open_, _ in self._pairs(default=True)]
        if self._calls is None:
            return text_rule(self._builder, "text", words)
        if style.bare:
            words.append(word("{", "start"))
            words += [word(mark, "start") for mark in style.opens]
            return text_rule(self._builder, "text", words)
        return self._with_calls(words, [])

    def _framed(self, frame: Pair) -> str:
        """A rule for the words inside a frame, and what follows it."""
        words: list[Word] = []
        targets: list[str] = []
        if frame[1]:
            behind = [_joined(BLANKS, self._skipped(2))]
            if self._calls is not None:
                behind.append(f"({' | '.join(self._begun())})?")
            else:
                behind.append(BLANK)
            words.append(word(frame[1], "anywhere", 0))
            targets.append(self._builder.rule("behind", _joined(*behind)))
        if self._calls is None:
            return text_rule(self._builder, "text", words, targets)
        return self._with_calls(words, targets)

    def _with_calls(self, words: list[Word], targets: list[str]) -> str:
        """A rule for text in which calls may begin where their marks stand."""
        builder, style, calls = self._builder, self._style, self._calls
        assert calls is not None
        if not any(map(is_word, style.opener)):
            return self._with_weak(words, targets)
        for mark, behind in self._openers().items():
            words.append(word(mark, "unquoted", len(targets)))
            targets.append(builder.rule("calls", behind))
        return text_rule(builder, "text", words, targets)

    def _with_weak(self, words: list[Word], targets: list[str]) -> str:
        """The same for marks that ordinary text has too.

        They count before the name of a function; a single character only at a line's beginning.
        """
        builder, style, calls = self._builder, self._style, self._calls
        assert calls is not None
        place: Where = "line" if len(style.opener) == 1 else "unquoted"
        if sum(map(len, self._names)) <= _MOST_NAMED:
            words += [_named(style.opener, name, place) for name in self._names]
        else:
            letters = "abcdefghijklmnopqrstuvwxyz_"
            letters += letters[:-1].upper()
            words += [word(style.opener + letter, place) for letter in letters]
        for mark in style.opens:
            words.append(word(mark, "unquoted", len(targets)))
            targets.append(builder.rule("calls", calls.of_first(style.begin)))
        # Behind these, a mark counts wherever it stands.
        words += [word(mark) for mark in style.skip]
        also = builder.rule("calls", calls.all())
        return text_rule(builder, "text", words, targets, also=also)

    def _openers(self) -> dict[str, str]:
        """What each mark that calls may begin with is followed by."""
        style, calls = self._style, self._calls
        assert calls is not None
        found: dict[str, str] = {}
        start, rest = split(style.opener)
        if style.open:
            found[start] = _joined(expression(_blank_before(rest)), calls.of_first(style.begin))
            for mark in style.opens:
                if not mark.startswith(start):
                    found.setdefault(mark.strip(), calls.of_first(style.begin))
            if style.begin:
                # Some models leave out the mark around all calls.
                mark, behind = split(style.begin)
                found.setdefault(mark, calls.of_first(behind, closed=False))
        else:
            found[start] = calls.of_first(_blank_before(rest))
        for mark, end in self._others():
            found.setdefault(mark.strip(), calls.of_other("", end))
        # A mark that others begin with is followed by the rest of those, too.
        for mark in sorted(found, key=len, reverse=True):
            shorter = next((one for one in found if mark != one and mark.startswith(one)), None)
            if shorter is not None:
                behind = _joined(expression(mark[len(shorter) :]), found.pop(mark))
                found[shorter] = f"{found[shorter]} | {behind}"
        return found

    def _others(self) -> list[Pair]:
        """Other spellings of the mark that a call begins with, and what ends it then."""
        style = self._style
        return [
            (mark, style.ends[number] if number < len(style.ends) else style.end)
            for number, mark in enumerate(style.begins)
        ]

    def _begun(self) -> list[str]:
        """Calls where a part of the answer begins, in whatever spelling."""
        assert self._calls is not None
        ways = [self._calls.all()]
        ways += [self._calls.of_other(mark, end) for mark, end in self._others()]
        return list(dict.fromkeys(ways))

    def _skipped(self, most: int) -> str:
        """Marks that mean nothing."""
        if not self._style.skip:
            return ""
        ways = " | ".join(expression(mark) for mark in self._style.skip)
        name = self._builder.rule("skipped", ways)
        return f"{name}?" if most == 1 else f"{name}{{0,{most}}}"

    def _said(self) -> str:
        """Some words before the calls, on lines of their own."""
        style = self._style
        kept_out = [*(a for a, _ in self._pairs(default=True)), *style.opens, *style.begins]
        kept_out += [style.open, style.begin, *(mark for pair in style.frames for mark in pair)]
        first = _unit(kept_out)
        unit = self._builder.rule("said", first)
        words = f'{self._builder.repeat(unit, 1, _MOST_SAID)} "\\n"'
        ways = [words]
        if style.frames:
            # In the frame that something may follow, where there is one.
            before, behind = max(style.frames, key=lambda pair: bool(pair[1]))
            apart = BLANK if behind or style.skip else ""
            inside = (expression(before), words, expression(behind), apart, self._skipped(2))
            ways.append(_joined(*inside))
        return f"({' | '.join(ways)})?"

    def _opened_frame(self) -> Pair | None:
        """The frame that the prompt stands in."""
        opened = self._opened.strip()
        if not opened or any(opened == close.strip() for _, close in self._reasoning):
            return None
        for pair in self._style.frames:
            if opened in (pair[0].strip(), pair[1].strip()):
                return pair
        return None

    def _inside(self, frame: Pair) -> str:
        """Words to the end of the frame that the prompt stands in."""
        if frame[1]:
            return _joined(until(self._builder, frame[1]), BLANKS, self._skipped(2))
        return BLANKS


def _named(opener: str, name: str, place: Where) -> Word:
    """A function's name behind a weak mark."""
    found = word(f"{opener} ", place)
    named = word(name, apart=True)
    return Word((*found.elements, "s*", *named.elements), place)


def _blank_before(mark: str) -> str:
    """The rest of a mark, which blanks may come before."""
    return f" {mark}" if mark and not mark[0].isspace() and not is_word(mark[0]) else mark


def _unit(marks: Sequence[str]) -> str:
    """The body of a rule for text that none of the marks can begin in, one or two characters."""
    starts = {mark.strip()[:2] for mark in marks if mark.strip()}
    firsts = {start[0] for start in starts}
    ways = [all_but(firsts)]
    for first in sorted(firsts):
        seconds = {start[1:2] or start for start in starts if start[0] == first}
        if not any(len(start) == 1 and start == first for start in starts):
            ways.append(f"{quote(first)} {all_but(firsts | seconds)}")
    return " | ".join(ways)


def _optional(text: str) -> str:
    return f"({text})?" if text else ""


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
