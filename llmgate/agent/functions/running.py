"""Running somebody's function: in a thread or a task of its own, with whatever it raises caught."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from llmgate.agent.context import Context
from llmgate.agent.functions.spec import Function

# How long a coroutine that was told to stop may take for that.
_GRACE = 2.0


class Outcome(msgspec.Struct, frozen=True):
    """What came of it: a value, or what was raised. `late`: it took too long."""

    value: Any = None
    error: BaseException | None = None
    late: bool = False


async def run(
    function: Function, context: Context, given: tuple[Any, ...], named: dict[str, Any]
) -> Outcome:
    """Run the function, at most for as long as it may take.

    Only the caller's own cancellation and KeyboardInterrupt come out of here. A thread that
    takes too long can't be stopped, and goes on for itself.
    """
    if inspect.iscoroutinefunction(inspect.unwrap(function.run)):
        first = (context,) if function.takes_agent else ()
        return await _in_task(lambda: function.run(*first, *given, **named), function.timeout)
    loop = asyncio.get_running_loop()
    first = (_from_thread(context, loop),) if function.takes_agent else ()
    outcome = await _in_thread(
        lambda: function.run(*first, *given, **named), function.name, function.timeout
    )
    if inspect.isawaitable(outcome.value):
        awaitable = outcome.value
        outcome = await _in_task(lambda: awaitable, function.timeout)
    if isinstance(outcome.error, KeyboardInterrupt):
        raise outcome.error
    return outcome


async def _in_thread(work: Callable[[], Any], name: str, seconds: float) -> Outcome:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Outcome] = loop.create_future()

    def settle(outcome: Outcome) -> None:
        if not done.done():
            done.set_result(outcome)

    def body() -> None:
        try:
            outcome = Outcome(work())
        # Nothing that is raised in a function may end the agent.
        except BaseException as error:  # noqa: BLE001
            outcome = Outcome(error=error)
        # The loop is closed if the agent ended before the function did.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, outcome)

    # Not a thread of the loop's pool: llmgate would wait for it at its end.
    threading.Thread(
        target=contextvars.copy_context().run, args=(body,), name=f"function {name}", daemon=True
    ).start()
    try:
        async with asyncio.timeout(seconds):
            return await done
    except TimeoutError:
        return Outcome(late=True)


async def _in_task(work: Callable[[], Any], seconds: float) -> Outcome:
    task = asyncio.ensure_future(_caught(work))
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await _stopped(task)
        raise
    if done:
        return task.result()
    await _stopped(task)
    return Outcome(late=True)


async def _caught(work: Callable[[], Any]) -> Outcome:
    try:
        value = work()
        # Under a decorator of somebody's own there may be no coroutine any more.
        return Outcome(await value if inspect.isawaitable(value) else value)
    except KeyboardInterrupt:
        raise
    except asyncio.CancelledError as error:
        own = asyncio.current_task()
        if own is not None and own.cancelling():
            raise
        # Nobody cancelled this task: something that the function waited for was.
        return Outcome(error=error)
    except BaseException as error:  # noqa: BLE001
        return Outcome(error=error)


async def _stopped(task: asyncio.Task[Outcome]) -> None:
    """Cancel the task and give it a moment to end."""
    task.cancel()
    await asyncio.wait({task}, timeout=_GRACE)


def _from_thread(context: Context, loop: asyncio.AbstractEventLoop) -> Context:
    """The context for a function in a thread: what it asks for happens in the loop's thread.

    There is no `await` in such a function, so memory, files and models answer it directly.
    """

    def say(text: str) -> None:
        loop.call_soon_threadsafe(context.say, text)

    def pause(minutes: int) -> None:
        loop.call_soon_threadsafe(context.pause, minutes)

    return msgspec.structs.replace(
        context,
        say=say,
        pause=pause,
        ask=_Waiting(context, loop).ask,
        core=_Waiting(context.core, loop),
        recall=_Waiting(context.recall, loop),
        archival=_Waiting(context.archival, loop),
        files=_Waiting(context.files, loop) if context.files is not None else None,
        web=_Waiting(context.web, loop) if context.web is not None else None,
    )


class _Waiting:
    """Something with async methods, each of which is waited for in the loop."""

    def __init__(self, inner: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def waited(*given: Any, **named: Any) -> Any:
            async def called() -> Any:
                value = found(*given, **named)
                return await value if inspect.isawaitable(value) else value

            return asyncio.run_coroutine_threadsafe(called(), self._loop).result()

        return waited
