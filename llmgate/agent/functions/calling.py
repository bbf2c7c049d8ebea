"""A call of a function: its arguments checked, approval asked for, the function run.

Whatever goes wrong becomes words for the model: neither it nor a function can end the agent.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import msgspec

from llmgate.agent.context import Context
from llmgate.agent.functions.approval import Approvals, Approver
from llmgate.agent.functions.definitions import closed
from llmgate.agent.functions.running import Outcome, run
from llmgate.agent.functions.spec import HEARTBEAT, THOUGHTS, Function
from llmgate.agent.functions.telling import cut, returned, told
from llmgate.errors import FunctionError, RequestError, suggestion
from llmgate.types import Note
from llmgate.validation import Checker
from llmgate.validation.limits import fault
from llmgate.validation.words import shortened

RESULT_LIMIT = 3000
_NOTHING = ("none", "null", "")
# How `llmgate.validation` says it of properties further in.
_GONE = " was dropped, since no such "


class Result(msgspec.Struct, frozen=True):
    """What came of a call: `message` is for the model, `data` what the function returned.

    `notes` say what of the arguments was changed. `denied`: it was not run, for want of approval.
    `ran`: the function was begun.
    """

    ok: bool
    message: str
    data: Any = None
    notes: tuple[Note, ...] = ()
    denied: bool = False
    ran: bool = False


class Prepared(msgspec.Struct, frozen=True):
    """Arguments that fit: `values` as JSON has them, `given` and `named` as Python does.

    In `values` there are also the defaults of what was left out, as far as JSON can say them.
    """

    values: dict[str, Any]
    given: tuple[Any, ...]
    named: dict[str, Any]
    notes: tuple[Note, ...] = ()


async def call(
    function: Function,
    arguments: Mapping[str, Any] | str,
    context: Context,
    *,
    approvals: Approvals | None,
    approver: Approver | None = None,
    started: Callable[[], Awaitable[None]] | None = None,
    limit: int = RESULT_LIMIT,
) -> Result:
    """Check the arguments, ask for approval, run the function and say what came of it.

    With `approvals` None nothing is asked: the caller has done that. `started` is awaited right
    before the function runs. `limit` is in characters, for what the model is told. Raises what
    the store, the approver and `started` raise, and nothing of the function's.
    """
    try:
        ready = prepared(function, arguments)
    except FunctionError as error:
        return _failed(function, str(error), limit=limit)
    if approvals is not None:
        decision = await approvals.decide(function, ready.values, approver)
        if not decision.allowed:
            result = _failed(function, decision.reason, ready.notes, limit=limit)
            return msgspec.structs.replace(result, denied=True)
    if started is not None:
        await started()
    outcome = await run(function, context, ready.given, ready.named)
    return _result(function, outcome, ready.notes, limit)


def prepared(function: Function, arguments: Mapping[str, Any] | str) -> Prepared:
    """The arguments as the function takes them, coerced where that loses nothing.

    Raises FunctionError that says what is wrong with them.
    """
    offered = _decoded(arguments)
    for own in (HEARTBEAT, THOUGHTS):
        offered.pop(own, None)
    notes: list[Note] = []
    known = {parameter.name: parameter for parameter in function.parameters}
    values: dict[str, Any] = {}
    for name, value in offered.items():
        parameter = known.get(name)
        if parameter is None:
            said = f"There is no argument {shortened(name)}, so {shortened(value)} was left out."
            notes.append(Note("dropped", said))
        elif not (parameter.default is None and not parameter.required and value is None):
            values[name] = value
    values = _without_nothings(function, values, notes)
    try:
        checker = Checker.of(_own_schema(function))
    except RequestError as error:
        raise FunctionError(f"its own schema can't be used: {error}") from error
    values, coerced = checker.coerce(values)
    notes += coerced
    if problems := checker.problems(values):
        raise FunctionError("; ".join([*problems, *_dropped(notes)]) + ".")
    given: list[Any] = []
    named: dict[str, Any] = {}
    for parameter in function.parameters:
        if parameter.name in values:
            try:
                value = parameter.load(values[parameter.name], parameter.name, notes)
            except (ValueError, RecursionError) as error:
                raise FunctionError(f"{error}.") from error
            if not parameter.positional:
                named[parameter.name] = value
        if parameter.positional:
            given.append(value if parameter.name in values else parameter.default)
    properties = function.tool.parameters["properties"]
    defaults = {
        name: properties[name]["default"]
        for name in known
        if name not in values and "default" in properties[name]
    }
    return Prepared({**values, **defaults}, tuple(given), named, tuple(notes))


def no_such_function(name: str, known: Iterable[str]) -> Result:
    """The result of a call of something that is not there."""
    return Result(False, f"No function named {name}. {suggestion(name, known)}")


def _decoded(arguments: Mapping[str, Any] | str) -> dict[str, Any]:
    decoded: Any = arguments
    if isinstance(arguments, str):
        try:
            decoded = msgspec.json.decode(arguments.strip() or "{}")
        except (msgspec.DecodeError, RecursionError) as error:
            raise FunctionError(f"the arguments are not JSON: {error}.") from error
    if not isinstance(decoded, Mapping):
        raise FunctionError(f"the arguments are not an object but {shortened(decoded)}.")
    if reason := fault(dict(decoded)):
        raise FunctionError(f"the arguments can't be used: {reason}.")
    return dict(decoded)


def _own_schema(function: Function) -> dict[str, Any]:
    """The schema of what the function itself takes: nothing else, and no heartbeat."""
    schema = function.tool.parameters
    properties = {name: one for name, one in schema["properties"].items() if name != HEARTBEAT}
    required = [name for name in schema["required"] if name != HEARTBEAT]
    whole = closed({**schema, "properties": properties, "required": required})
    assert isinstance(whole, dict)
    return whole


def _without_nothings(
    function: Function, values: dict[str, Any], notes: list[Note]
) -> dict[str, Any]:
    """The arguments without texts such as "none" where no text can stand: nothing was meant."""
    kept = dict(values)
    for parameter in function.parameters:
        value = values.get(parameter.name)
        if (
            parameter.required
            or not isinstance(value, str)
            or value.strip().lower() not in _NOTHING
        ):
            continue
        schema = function.tool.parameters["properties"][parameter.name]
        kinds = schema.get("type", "string")
        if "string" not in ([kinds] if isinstance(kinds, str) else kinds):
            del kept[parameter.name]
            said = f"{parameter.name}: {shortened(value)} was left out, as nothing was meant."
            notes.append(Note("coerced", said))
    return kept


def _result(function: Function, outcome: Outcome, notes: tuple[Note, ...], limit: int) -> Result:
    if outcome.late:
        still = "" if inspect.iscoroutinefunction(function.run) else " It may still be running."
        said = f"it took longer than {function.timeout:g} seconds.{still}"
        return _failed(function, said, notes, ran=True, limit=limit)
    if outcome.error is not None:
        return _failed(function, told(outcome.error), notes, ran=True, limit=limit)
    try:
        message = returned(outcome.value)
    # `__str__` is the user's code as well.
    except Exception as error:  # noqa: BLE001
        said = f"what it returned can't be shown ({told(error)})."
        return _failed(function, said, notes, ran=True, limit=limit)
    if not function.exempt_from_limit:
        message = cut(message, limit)
    return Result(True, _noted(message, notes), outcome.value, notes, ran=True)


def _failed(
    function: Function,
    said: str,
    notes: tuple[Note, ...] = (),
    *,
    limit: int,
    ran: bool = False,
) -> Result:
    message = cut(f"Error calling function {function.name}: {said}", limit)
    return Result(False, _noted(message, notes), notes=notes, ran=ran)


def _noted(message: str, notes: tuple[Note, ...]) -> str:
    """The message, with what of the arguments was left out."""
    return "\n".join([message, *(f"(Note: {said})" for said in _dropped(notes))])


def _dropped(notes: Iterable[Note]) -> list[str]:
    return [note.message for note in notes if note.code == "dropped" or _GONE in note.message]
