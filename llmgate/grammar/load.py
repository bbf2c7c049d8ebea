"""Reads the grammars that are shipped, and the user's own."""

from __future__ import annotations

from pathlib import Path

from llmgate import resources
from llmgate.errors import GrammarError
from llmgate.grammar.gbnf.check import check
from llmgate.grammar.values import Grammar


def load(name: str, user: Path | None = None) -> Grammar:
    """The named `.gbnf` file as a grammar; `user` is the user's own folder, which comes first.

    Raises `UnknownName` with the known names, and `GrammarError` if its text is not usable.
    """
    text = resources.read("grammars", name, user)
    try:
        check(text)
    except GrammarError as error:
        raise GrammarError(f"{name}.gbnf: {error.message}", hint=error.hint) from error
    return Grammar(text)
