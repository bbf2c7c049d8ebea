"""Calls that the shipped model can be expected to make, as a suite of `llmgate bench`.

    python -m benchmarks.pilot_cases FILE.jsonl [--count 40] [--seed 1]

Its sentence patterns are its whole world (see `llmgate/data/llmgate-tiny.md`): what wrappers do
to it is seen on requests of that kind. The names of places and persons are drawn anew.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import msgspec

from llmgate.bench.cases import Case, Expect, ExpectedCall
from llmgate.types import Message, Tool

_VERBS = ("book", "send", "create", "delete", "find", "update", "play", "cancel", "order", "check")
_NOUNS = ("taxi", "report", "playlist", "invoice", "meeting", "ticket", "photo", "camera", "lesson")
_CITIES = ("Oslo", "Lima", "Rome", "Bern", "Riga", "Cairo", "Delhi", "Accra", "Quito", "Tunis")
_PERSONS = ("Alice", "Hugo", "Nadia", "Sven", "Rosa", "Igor", "Clara", "Omar", "Vera", "Leo")
_COLORS = ("red", "green", "blue", "white", "purple", "brown")
_ASKED = ("{}", "Please {}", "Can you {}?", "I want to {}", "Could you {}?", "I need to {}")


def cases(count: int, seed: int) -> list[Case]:
    """So many requests, each with two to five functions to choose from."""
    dice = random.Random(seed)
    return [_case(f"pilot-{number:03}", dice) for number in range(count)]


def _parameters(dice: random.Random) -> dict[str, tuple[str, str, Any, str]]:
    """Name → its description, JSON type, value, and how a person says it."""
    city, person, days = dice.choice(_CITIES), dice.choice(_PERSONS), dice.randint(2, 30)
    color, many = dice.choice(_COLORS), dice.randint(2, 99)
    every = {
        "city": ("City name", "string", city, f"in {city}"),
        "person": ("Name of the person", "string", person, f"for {person}"),
        "days": ("Number of days", "integer", days, f"for {days} days"),
        "color": ("Color name", "string", color, f"in color {color}"),
        "quantity": ("Number of items", "integer", many, f"quantity {many}"),
    }
    names = dice.sample(sorted(every), dice.randint(1, 2))
    return {name: every[name] for name in names}


def _case(id_: str, dice: random.Random) -> Case:
    pairs = dice.sample([(verb, noun) for verb in _VERBS for noun in _NOUNS], dice.randint(2, 5))
    known = [_parameters(dice) for _ in pairs]
    tools = tuple(
        Tool(
            f"{verb}_{noun}",
            f"{verb.capitalize()} the {noun}",
            {
                "type": "object",
                "properties": {
                    name: {"type": kind, "description": said}
                    for name, (said, kind, _, _) in parameters.items()
                },
                "required": list(parameters),
            },
        )
        for (verb, noun), parameters in zip(pairs, known, strict=True)
    )
    chosen = dice.randrange(len(pairs))
    verb, noun = pairs[chosen]
    asked = " ".join([verb, "the", noun, *(phrase for *_, phrase in known[chosen].values())])
    text = dice.choice(_ASKED).format(asked)
    right = {name: [value] for name, (_, _, value, _) in known[chosen].items()}
    return Case(
        id_,
        (Message("user", text[0].upper() + text[1:]),),
        Expect("calls", (ExpectedCall(f"{verb}_{noun}", right),)),
        "pilot",
        tools,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    made = cases(arguments.count, arguments.seed)
    arguments.file.write_bytes(b"".join(msgspec.json.encode(case) + b"\n" for case in made))
    print(f"{len(made)} cases: {arguments.file}")


if __name__ == "__main__":
    main()
