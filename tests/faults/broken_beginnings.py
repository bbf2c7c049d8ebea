"""Faults at the beginning: whatever a server is asked about itself goes wrong, then it recovers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from answer_frames import Wire, changed
from fault import Fault, How, answering, body, raw, refusing
from fault_laws import Violation, judged
from fault_matrix import BACKENDS, DEADLINE, PATIENT, Cell, Troubled, request, serving
from visits import Answer, ask
from wire_servers.base import Asked, Reply

from llmgate.config import Timeouts

_HASTY = Timeouts(connect=1.0, first_token=1.0, between_tokens=1.0)
_ANY_ERROR = (400, 404, 413, 422, 424, 429, 502, 503, 504)
_WELL = Fault("well again", None, "answer")


def _instead(value: Any, *, inside: bool = False) -> How:
    """The values of all fields replaced, or those inside of them."""

    def change(old: Any) -> Any:
        if isinstance(old, dict):
            return {name: deeper(inner) if inside else value for name, inner in old.items()}
        return value

    def deeper(old: Any) -> Any:
        if isinstance(old, dict):
            return {name: deeper(inner) for name, inner in old.items()}
        return [deeper(inner) for inner in old] if isinstance(old, list) else value

    return answering(lambda wire, frames: changed(frames, change))


FAULTS = (
    Fault("reset", lambda wire: None, "error"),
    Fault("closed", raw(), "error"),
    Fault("not HTTP", raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "error"),
    Fault("silence", answering(lambda wire, frames: [30.0, *frames]), "error", hasty=True),
    *(
        Fault(str(status), refusing(status, "Not now"), "error")
        for status in (400, 401, 403, 404, 429, 500, 501, 502, 503)
    ),
    Fault("502 in HTML", body("<h1>Bad Gateway</h1>", "text/html", 502), "error"),
    Fault("200 in HTML", body("<h1>Hello</h1>", "text/html"), "error"),
    Fault("200 with an error", body('{"error": "CUDA out of memory"}'), "error"),
    *(
        Fault(f"200 with {text or 'nothing'}", body(text), "error")
        for text in ("", "[]", "[1]", "null", "5", '"text"', "{}", '{"ok": true}', '{"da')
    ),
    *(
        Fault(f"{json.dumps(value)} for all that it says", _instead(value), "either", says=())
        for value in (None, True, -1, 10**30, 1.5, "text", [], [None], {}, {"a": 1})
    ),
    # Not a text: an answer of nothing but such texts is one, and proves what was said with it.
    *(
        Fault(
            f"{json.dumps(value)} for all inside", _instead(value, inside=True), "either", says=()
        )
        for value in (None, True, -1, 10**30, 1.5, [], [None], {}, {"a": 1})
    ),
)


async def rows_of(backends: Iterable[str]) -> dict[str, list[Cell]]:
    """The cells of these backends."""
    names = list(backends)
    return dict(zip(names, await asyncio.gather(*map(_cells, names)), strict=True))


async def _cells(backend: str, faults: Iterable[Fault] = FAULTS) -> list[Cell]:
    """What becomes of a backend whose server is in trouble while it is opened, and then is not."""
    cells = []
    async with BACKENDS[backend]() as server:
        for fault in faults:
            troubled = Troubled(server, [])
            settings = troubled.settings(timeouts=_HASTY if fault.hasty else PATIENT)
            how = _kept_apart(troubled, fault)
            server.fault, server.everywhere = how, True
            try:
                async with asyncio.timeout(DEADLINE):
                    async with serving({"m": settings}) as app:
                        expected = replace(fault, status=_ANY_ERROR)
                        first = await _asked(app, streamed=False)
                        outcome = judged(expected, backend, first, streamed=False)
                        judged(expected, backend, await _asked(app, streamed=True), streamed=True)
                        server.fault = None
                        for streamed in (False, True):
                            after = await _asked(app, streamed=streamed)
                            judged(_WELL, backend, after, streamed=streamed)
            except TimeoutError:
                cells.append(Cell(backend, fault.name, "start", "violation", "no end in time"))
            except Violation as violation:
                cells.append(Cell(backend, fault.name, "start", "violation", str(violation)))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the cell's outcome
                problem = f"the app raised {error!r:.200}"
                cells.append(Cell(backend, fault.name, "start", "violation", problem))
            else:
                cells.append(Cell(backend, fault.name, "start", outcome))
    return cells


async def _asked(app: Any, *, streamed: bool) -> Answer:
    return await ask(app, request("m", "Hello", stream=streamed), DEADLINE)


def _kept_apart(troubled: Troubled, fault: Fault) -> Callable[[Asked, Reply], Reply | None]:
    def how(asked: Asked, reply: Reply) -> Reply | None:
        assert fault.how is not None
        return fault.how(Wire(troubled.server, asked, reply))

    return how
