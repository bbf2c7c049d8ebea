"""A model without weights: it says what the shipped model would say, and keeps to grammars.

So the servers in this folder, each with its own words on the wire, all have the same to say.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Any

from llmgate import grammar as grammars
from llmgate.grammar.gbnf.matcher import Places, Run, State, program_of
from llmgate.grammar.gbnf.program import Chars, Literal
from llmgate.types import Finish

BOS, EOS = "<s>", "</s>"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
)
_CONTROL = re.compile(r"(<\|\w+\|>|</?s>)")
_SOME = [ord(char) for char in 'abcxyz ABC019_-.,:{}[]"\\é漢😀']
_SHORTEST = 20
# So many characters of its own are written before it looks for the end of what is asked for.
_LONGEST = 400


class Answer:
    """One answer, token by token: `text` of it may be passed on once it is yielded.

    What could be the beginning of a stop string is held back, as servers do.
    """

    def __init__(self, tokens: Iterable[str], stop: Sequence[str], room: int) -> None:
        self.finish: Finish = "stop"
        self.tokens = 0
        # The stop string that ended it.
        self.word = ""
        self._source = iter(tokens)
        self._stop = [text for text in stop if text]
        self._room = room

    def __iter__(self) -> Iterator[str]:
        text, passed = "", 0
        held = max((len(stop) - 1 for stop in self._stop), default=0)
        for token in self._source:
            if self.tokens >= self._room:
                self.finish = "length"
                break
            self.tokens += 1
            text += token
            found = [(at, stop) for stop in self._stop if (at := text.find(stop, passed)) >= 0]
            if found:
                at, self.word = min(found)
                text = text[:at]
                break
            if len(text) - held > passed:
                yield text[passed : len(text) - held]
                passed = len(text) - held
        if text[passed:]:
            yield text[passed:]


class Model:
    """What is behind a server: a tokenizer, a context, and one thing to say to each prompt."""

    def __init__(self, context: int = 2048) -> None:
        self.context = context

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text, control tokens being one each."""
        parts = _CONTROL.split(text)
        return [
            token
            for number, part in enumerate(parts)
            for token in ([part] if number % 2 else _pieces(part))
        ]

    def count(self, text: str) -> int:
        """How many tokens a text has."""
        return len(self.tokens(text))

    def answer(
        self,
        prompt: str,
        *,
        stop: Sequence[str] = (),
        most: int | None = None,
        grammar: str | None = None,
        schema: Any = None,
        seed: int | None = None,
        greedy: bool = False,
        context: int | None = None,
    ) -> Answer:
        """What it says to a prompt that fits, at most `most` tokens and what the context holds."""
        if grammar is None and schema is not None:
            grammar = grammars.compile(schema).text
        random = Random(prompt if greedy else seed)
        wish = _wish(prompt)
        characters = wish if grammar is None else _held(grammar, wish, random)
        room = (context or self.context) - self.count(prompt)
        return Answer(_pieces(characters), stop, room if most is None else min(most, room))


def _wish(prompt: str) -> Iterator[str]:
    """What it would like to say, character by character."""
    if "capital of France" in prompt:
        return iter("The capital of France is Paris.")
    if "tic tac" in prompt:
        return itertools.cycle("tic tac ")
    return iter("I like the garden and the river.")


def _pieces(characters: Iterable[str]) -> Iterator[str]:
    """The characters as tokens: words with the space before them, of four characters at most."""
    token = ""
    for character in characters:
        if token and (len(token) == 4 or character == " "):
            yield token
            token = ""
        token += character
    if token:
        yield token


def _held(grammar: str, wish: Iterator[str], random: Random) -> Iterator[str]:
    """The wish as far as the grammar allows it, then anything that it allows, to its end."""
    run = Run(Places(program_of(grammar)))
    state, closer = run.start(), grammars.Closer(grammar)
    wanted, own = next(wish, None), 0
    while True:
        if wanted is not None and (after := run.step(state, ord(wanted))):
            character, wanted = wanted, next(wish, None)
            done = wanted is None and after.complete
        else:
            wanted, own, done = None, own + 1, False
            if own > _LONGEST:
                yield from closer.ending or ""
                return
            codes = _allowed(run, state)
            if not codes or (state.complete and own > _SHORTEST and random.random() < 0.1):
                return
            character = chr(random.choice(codes))
            after = run.step(state, ord(character))
        closer.feed(character)
        state = after
        yield character
        if done:
            return


def _allowed(run: Run, state: State) -> list[int]:
    """Some of the characters that may come next: of each place those that stand for it."""
    codes: set[int] = set()
    for place, _ in state.edges:
        symbol = run.places.symbols[place]
        if isinstance(symbol, Literal):
            codes.add(symbol.code)
        elif isinstance(symbol, Chars):
            codes |= {code for code in _SOME if symbol.has(code)}
            if not symbol.negated:
                codes |= {code for low, high in symbol.ranges for code in (low, high)}
    return sorted(codes)
