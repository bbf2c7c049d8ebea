"""Where templates run: our own, and the models', which are foreign code.

Templates of ours and of users see their mistakes at once (`StrictUndefined`). A model's own
template is rendered to the letter as Hugging Face's transformers do it, in a sandbox in which
each run has a `Budget`. Values made inside it may be changed, as several models' templates
do (transformers itself refuses those): all that a template gets is a copy.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import jinja2
import msgspec
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmgate.errors import ConfigError, LlmgateError, RequestError
from llmgate.wrappers import budget
from llmgate.wrappers.budget import Budget, TooMuch
from llmgate.wrappers.parts import Marks
from llmgate.wrappers.sandbox import ModelSandbox
from llmgate.wrappers.turns import Turns

MAX_TEMPLATE = 200_000
_CHANGING = re.compile(r"strftime_now|random|lipsum")
# What does not change between two conversations with one model.
_TOKENS = ("bos_token", "eos_token")


def own_environment() -> jinja2.Environment:
    """For templates of ours: sandboxed, with the names that chat templates of this field expect."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.loopcontrols"],
        autoescape=False,  # prompts are text, not HTML
    )
    environment.filters["tojson"] = _plain_tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime(_here)
    return environment


def is_steady(*sources: str) -> bool:
    """Whether templates write the same whenever they are given the same."""
    return not any(map(_CHANGING.search, sources))


class ModelTemplate:
    """A model's own chat template, ready to be rendered."""

    def __init__(
        self,
        text: str,
        *,
        now: Callable[[], datetime.datetime] = datetime.datetime.now,
    ) -> None:
        """Raises `ConfigError` for a text that is no template. `now` is what it may ask for."""
        if len(text) > MAX_TEMPLATE:
            raise ConfigError(
                f"the model's chat template has {len(text)} characters, more than {MAX_TEMPLATE}."
            )
        environment = ModelSandbox()
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime(now)
        compiled: list[Turns] = []

        def compiling() -> str:
            compiled.append(Turns(environment, text, _TOKENS))
            return ""

        try:
            budget.within(Budget(len(text)), compiling)
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError(
                f"the model's chat template has an error in line {error.lineno}: {error.message}."
            ) from error
        except (jinja2.TemplateError, SyntaxError, ValueError, RecursionError) as error:
            raise ConfigError(f"the model's chat template can't be used: {error}.") from error
        self.text = text
        self._environment = environment
        self._turns = compiled[0]

    @property
    def names(self) -> frozenset[str]:
        """The variables that it may ask for."""
        found = meta.find_undeclared_variables(self._environment.parse(self.text))
        return frozenset(found) - self._environment.globals.keys()

    def render(self, variables: Mapping[str, Any], marks: Marks | None = None) -> str:
        """The text that the template makes of JSON values, of which it gets copies.

        With `marks` these stand in it too.

        Raises `RequestError` for a conversation that the template refuses, and `ConfigError` if
        it fails, or does far more work than the conversation needs.
        """
        size = budget.size_of(variables)
        given = {key: copied(value) for key, value in variables.items()}
        try:
            turns = self._turns
            template = turns if marks is None else turns.marked(marks)
            return budget.within(Budget(size), lambda: template.render(given))
        except LlmgateError:
            raise
        except TooMuch as error:
            raise ConfigError(f"the model's chat template was stopped: {error}.") from error
        except jinja2.TemplateError as error:
            raise ConfigError(f"the model's chat template failed: {error}.") from error
        except Exception as error:  # a template is foreign code: it may raise anything
            kind = type(error).__name__
            raise ConfigError(f"the model's chat template failed: {kind}: {error}.") from error


def copied(value: Any) -> Any:
    """A JSON value that shares nothing changeable with the given one."""
    if isinstance(value, dict):
        return {key: inner if type(inner) is str else copied(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [copied(inner) for inner in value]
    return value


def _plain_tojson(value: Any, indent: int | None = None) -> str:
    """Jinja's own filter escapes HTML and non-ASCII text, which a model should not see."""
    encoded = msgspec.json.encode(value)
    return msgspec.json.format(encoded, indent=indent or 0).decode()


def _raise_exception(message: str) -> NoReturn:
    raise RequestError(f"the model's template refuses this conversation: {str(message)[:1000]}")


def _here() -> datetime.datetime:
    return datetime.datetime.now().astimezone()


def _strftime(now: Callable[[], datetime.datetime]) -> Callable[[str], str]:
    def strftime_now(form: str) -> str:
        return now().strftime(form)

    return strftime_now
