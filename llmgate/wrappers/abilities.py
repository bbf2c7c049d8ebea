"""What a model's chat template can show, found by rendering conversations made for that.

Every text in them is a word that occurs nowhere else: what the template shows is found again in
its rendering, what it has no place for is missing.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec

from llmgate.errors import ConfigError, RequestError
from llmgate.wrappers.environment import ModelTemplate

View = dict[str, Any]
Ids = Literal["any", "nine", "named"]

SYSTEM, USER, AGAIN, WORDS = "zqsystem", "zquser", "zqagain", "zqwords"
THOUGHTS, BEFORE, LATE = "zqthoughts", "zqbefore", "zqlate"
RESULT, OTHER_RESULT = "zqresult", "zqfound"
FUNCTION, OTHER = "zq_function", "zq_other"
TEXT_KEY, NUMBER_KEY = "zq_text", "zq_number"
VALUE, OTHER_VALUE, NUMBER, OTHER_NUMBER = "zqvalue", "zqthing", 73195, 84206
_ID, _OTHER_ID = "call_zqone", "call_zqtwo"
_TOOL_NAME = re.compile(r"tool|function", re.IGNORECASE)
_DATE_NAME = re.compile(r"date|time", re.IGNORECASE)
_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking", "thought", "thoughts")
# What a value looks like that was written in the wrong way: Python's, or JSON inside JSON.
_WRONG = (f"{{'{TEXT_KEY}'", f'\\"{TEXT_KEY}\\"')


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a template has a place for.

    system, late_system: a system message at the beginning, and a second one later on.
    system_alone: a system message without any other.
    alternating: it refuses two turns of the same role in a row.
    tools: the variable whose tools it lists, empty if it lists none; `tools_as_text` if that has
        to be JSON text, `tools_need_system` if it lists them in a system message only.
    calls, parallel: a turn with a call, and with several. `mixed`: with words before them.
    results: a message of the role `tool`.
    text_arguments: a call's arguments have to be JSON text, else an object; `null_content`: its
        content has to be null, else an empty text; `ids`: what the identifiers of calls have to
        look like: nine letters and digits, or `functions.NAME:NUMBER`.
    reasoning: the key under which it shows thoughts, empty if it shows none.
    variables: further variables without which it fails.
    """

    system: bool = True
    late_system: bool = True
    system_alone: bool = True
    alternating: bool = False
    tools: str = ""
    tools_as_text: bool = False
    tools_need_system: bool = False
    calls: bool = False
    parallel: bool = False
    mixed: bool = False
    results: bool = False
    text_arguments: bool = False
    null_content: bool = False
    ids: Ids = "any"
    reasoning: str = ""
    variables: tuple[str, ...] = ()


# The forms in which a call can be handed over, the usual ones first.
_FORMS = tuple(
    Abilities(ids=ids, null_content=null, text_arguments=text)
    for ids in get_args(Ids)
    for null in (False, True)
    for text in (False, True)
)


class Prober:
    """Asks one template, whose control tokens are `bos` and `eos`."""

    def __init__(self, template: ModelTemplate, bos: str = "", eos: str = "") -> None:
        self._template = template
        self._tokens = {"bos_token": bos, "eos_token": eos}
        self._needed: tuple[str, ...] = ()
        self._tools: tuple[str, bool] = ("", False)

    @property
    def text(self) -> str:
        """The template itself."""
        return self._template.text

    def abilities(self) -> Abilities:
        """What it can show. Raises what the template raises if it can't render anything."""
        self._needed = self._find_needed()
        system = shows(self.render([role("system", SYSTEM), user()]), SYSTEM)
        head = [role("system", SYSTEM)] if system else []
        self._tools, needs_system = self._find_tools(head)
        late = self.render([*head, user(), assistant(), role("system", LATE), user(AGAIN)])
        results = [user(), assistant(), tool_result(_ID, FUNCTION, RESULT)]
        found = Abilities(
            system=system,
            late_system=shows(late, LATE) and (not head or shows(late, SYSTEM)),
            system_alone=shows(self.render(head), SYSTEM),
            alternating=self._alternating(),
            tools=self._tools[0],
            tools_as_text=self._tools[1],
            tools_need_system=needs_system,
            results=shows(self.render(results), RESULT),
            reasoning=self._find_reasoning(),
            variables=self._needed,
        )
        return self._with_calls(found)

    def render(
        self,
        messages: Sequence[View],
        given: Mapping[str, Any] | None = None,
        *,
        with_tools: bool = False,
    ) -> str | None:
        """What the template makes of a conversation, None if it refuses it or fails."""
        try:
            return self.rendered(messages, given, with_tools=with_tools)
        except (RequestError, ConfigError):
            return None

    def rendered(
        self,
        messages: Sequence[View],
        given: Mapping[str, Any] | None = None,
        *,
        with_tools: bool = False,
    ) -> str:
        """As `render`. Raises what the template raises."""
        name, as_text = self._tools
        tools = [tool(FUNCTION), tool(OTHER)]
        return self._template.render(
            {
                **standard(self._tokens, list(messages)),
                **variables(self._needed),
                **(listing(name, as_text, tools) if with_tools and name else {}),
                **(given or {}),
            }
        )

    def _find_needed(self) -> tuple[str, ...]:
        """The variables without which not even a greeting can be rendered."""
        plain = [user()]
        if self.render(plain) is not None:
            return ()
        names = sorted(self._template.names - {"messages"})
        for some in (("tools",), tuple(n for n in names if n != "tools"), tuple(names)):
            if self.render(plain, variables(some)) is not None:
                return tuple(name for name in some if name in variables(some))
        self.rendered(plain)
        return ()

    def _alternating(self) -> bool:
        separate = self.render([user(), assistant(), user(AGAIN)])
        return separate is not None and self.render([user(), user(AGAIN)]) is None

    def _find_tools(self, head: list[View]) -> tuple[tuple[str, bool], bool]:
        """The variable for tools, whether it has to be text, and whether a system is needed."""
        names = self._template.names
        others = sorted(name for name in names if _TOOL_NAME.search(name) and name != "tools")
        for name in ("tools", *others):
            for as_text in (False, True):
                given = listing(name, as_text, [tool(FUNCTION)])
                needed = False
                for messages in ([user()], [*head, user()]):
                    text = self.render(messages, given)
                    if shows(text, FUNCTION) and shows(text, TEXT_KEY):
                        return (name, as_text), needed
                    needed = True
        return ("", False), False

    def _find_reasoning(self) -> str:
        for key in _REASONING_KEYS:
            if key not in self._template.text:
                continue
            turn = {**assistant(), key: THOUGHTS}
            for messages in ([user(), turn], [user(), turn, user(AGAIN)]):
                if shows(self.render(messages), THOUGHTS):
                    return key
            for messages in self._calling({key: THOUGHTS}):
                if shows(self.render(messages, with_tools=True), THOUGHTS):
                    return key
        return ""

    def _calling(self, more: Mapping[str, Any]) -> Iterator[list[View]]:
        for arguments in (_arguments(VALUE, NUMBER), json.dumps(_arguments(VALUE, NUMBER))):
            for content in ("", None):
                made = [call(_ID, FUNCTION, arguments)]
                yield [user(), {**calling(made, content), **more}, tool_result(_ID, FUNCTION)]

    def _with_calls(self, found: Abilities) -> Abilities:
        """The abilities that are about calls, in the form that the template shows best."""
        form, text = self._find_form()
        if form is None:
            return found
        best = msgspec.structs.replace(
            found,
            calls=True,
            text_arguments=form.text_arguments,
            null_content=form.null_content,
            ids=form.ids,
        )
        several = self.render(conversation(best, [FUNCTION, OTHER]), with_tools=True)
        wanted = (VALUE, OTHER_VALUE, str(NUMBER), str(OTHER_NUMBER))
        words = conversation(best, [FUNCTION], words=BEFORE)
        # Some templates show such words only until the next answer.
        mixed = [self.render(words[:end], with_tools=True) for end in (None, -2)]
        return msgspec.structs.replace(
            best,
            results=shows(text, RESULT),
            parallel=all(shows(several, text) for text in wanted),
            mixed=any(shows(text, BEFORE) and shows(text, VALUE) for text in mixed),
        )

    def _find_form(self) -> tuple[Abilities | None, str | None]:
        """The form in which calls are shown, and what they look like."""
        plain = self.render([user(), assistant(), user(AGAIN)], with_tools=True) or ""
        for form in _FORMS:
            text = self.render(conversation(form, [FUNCTION]), with_tools=True)
            if text is None or not _shows_call(text, plain):
                continue
            # Text that is shown as it is stays to the letter what the model wrote.
            literal = msgspec.structs.replace(form, text_arguments=True)
            same = text == self.render(conversation(literal, [FUNCTION]), with_tools=True)
            return (literal if same else form), text
        return None, None


def _shows_call(text: str, plain: str) -> bool:
    """Whether a call stands in a rendering as a model could write it; `plain` has none."""
    if VALUE not in text or str(NUMBER) not in text:
        return False
    if sum(map(text.count, _WRONG)) > sum(map(plain.count, _WRONG)):
        return False
    # The message with the result may name the function too.
    before, listed = text.split(RESULT)[0], plain.split(WORDS)[0]
    return before.count(FUNCTION) > listed.count(FUNCTION)


def standard(tokens: Mapping[str, str], messages: list[View]) -> dict[str, Any]:
    """The variables that every chat template gets."""
    return {
        "messages": messages,
        "tools": None,
        "documents": None,
        "add_generation_prompt": False,
        **tokens,
    }


def conversation(
    form: Abilities, names: Sequence[str], *, words: str = "", results: bool = True
) -> list[View]:
    """A conversation in which functions are called, one call each."""
    ids = call_ids(form, names)
    values = (_arguments(VALUE, NUMBER), _arguments(OTHER_VALUE, OTHER_NUMBER))
    made = [
        call(i, name, json.dumps(value) if form.text_arguments else value)
        for i, name, value in zip(ids, names, values, strict=False)
    ]
    content = words or (None if form.null_content else "")
    messages = [user(), calling(made, content)]
    if not results:
        return messages
    shown = (RESULT, OTHER_RESULT)
    messages += [
        tool_result(i, name, text) for i, name, text in zip(ids, names, shown, strict=False)
    ]
    return [*messages, assistant(), user(AGAIN)]


def call_ids(form: Abilities, names: Sequence[str]) -> list[str]:
    """The identifiers of the calls in `conversation`, as they are shown."""
    pairs = zip((_ID, _OTHER_ID), names, strict=False)
    return [identifier(form.ids, given, name, n) for n, (given, name) in enumerate(pairs)]


def _arguments(value: str, number: int) -> dict[str, Any]:
    return {TEXT_KEY: value, NUMBER_KEY: number}


def identifier(kind: Ids, given: str, name: str, number: int) -> str:
    """A call's identifier in the form that a template demands."""
    if kind == "named":
        return f"functions.{name}:{number}"
    if kind == "nine" and not re.fullmatch("[a-zA-Z0-9]{9}", given):
        return _nine(given)
    return given


def _nine(text: str) -> str:
    """Nine letters and digits that stand for a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:9]


def variables(names: Sequence[str]) -> dict[str, Any]:
    """Values for what a template can't do without."""
    today = datetime.datetime.now().strftime("%b %d %Y")
    given: dict[str, Any] = {}
    for name in names:
        if name == "tools":
            given[name] = []
        elif _TOOL_NAME.search(name):
            given[name] = "[]"
        elif _DATE_NAME.search(name):
            given[name] = today
    return given


def listing(name: str, as_text: bool, tools: Sequence[View]) -> dict[str, Any]:
    """The variable that hands tools to a template."""
    if not as_text:
        return {name: list(tools)}
    return {name: json.dumps([t["function"] for t in tools], ensure_ascii=False, indent=4)}


def shows(text: str | None, word: str) -> bool:
    """Whether there is a rendering, and `word` in it."""
    return text is not None and word in text


# The messages and tools of conversations, in the form that templates know.


def role(name: str, content: str | None) -> View:
    return {"role": name, "content": content}


def user(content: str = USER) -> View:
    return role("user", content)


def assistant(content: str = WORDS) -> View:
    return role("assistant", content)


def calling(calls: list[View], content: str | None) -> View:
    return {"role": "assistant", "content": content, "tool_calls": calls}


def call(identifier: str, name: str, arguments: Any) -> View:
    function = {"name": name, "arguments": arguments}
    return {"type": "function", "id": identifier, "function": function}


def tool_result(identifier: str, name: str, content: str = RESULT) -> View:
    return {"role": "tool", "content": content, "tool_call_id": identifier, "name": name}


def tool(name: str) -> View:
    """A tool with a text and a number as its parameters."""
    properties = {
        TEXT_KEY: {"type": "string", "description": "A text."},
        NUMBER_KEY: {"type": "integer", "description": "A number."},
    }
    parameters = {"type": "object", "properties": properties, "required": [TEXT_KEY, NUMBER_KEY]}
    function = {"name": name, "description": "Does something.", "parameters": parameters}
    return {"type": "function", "function": function}
