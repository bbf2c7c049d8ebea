"""Reading a stream to its end, with something to be done before each wait."""

from __future__ import annotations

import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


@types.coroutine
def drain(
    stream: AsyncGenerator[T, None],
    take: Callable[[T], None],
    before_wait: Callable[[], Awaitable[None]],
) -> Generator[Any, Any, None]:
    """Give each item to `take`; where the next one is not there yet, `before_wait` comes first.

    So that items which are there already can be sent on together. An `async for` can't tell:
    this takes its steps by hand.
    """
    while True:
        step = stream.__anext__()
        try:
            awaited = step.send(None)
        except StopIteration as end:
            take(end.value)
            continue
        except StopAsyncIteration:
            return
        failure: BaseException | None = None
        try:
            yield from before_wait().__await__()
        except GeneratorExit:
            step.close()
            raise
        except BaseException as error:  # noqa: BLE001 - the stream is told, and raises it
            failure = error
        try:
            while True:
                if failure is None:
                    try:
                        sent = yield awaited
                    except GeneratorExit:
                        step.close()
                        raise
                    except BaseException as error:  # noqa: BLE001 - as above
                        failure = error
                        continue
                    awaited = step.send(sent)
                else:
                    raised, failure = failure, None
                    awaited = step.throw(raised)
        except StopIteration as end:
            take(end.value)
        except StopAsyncIteration:
            return
