"""Faults that servers report: by a status, or inside of an answer that began as a success."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from answer_frames import Wire, first_text
from fault import FAILED, REFUSED, Fault, How, answering, body, refusing
from wire_servers.base import EVENTS, LINES, Reply

_HTML = "<html><head><title>502</title></head><body><h1>Bad Gateway</h1>nginx</body></html>"
_OOM = "CUDA out of memory"
_SPENT = {"error": {"message": "You have no credit left", "code": "insufficient_quota"}}
_TOO_LONG = {
    "error": {
        "message": "the request exceeds the available context size",
        "type": "exceed_context_size_error",
        "code": 400,
    }
}
_NESTED = json.dumps({"error": {"code": 500, "message": _OOM, "type": "server_error"}})
ENVELOPES: dict[str, Any] = {
    "an error object": {"error": {"message": _OOM, "type": "server_error", "code": None}},
    "an error text": {"error": _OOM},
    "an error of JSON in a text": {"error": _NESTED},
    "an error of its own kind": {"object": "error", "message": _OOM, "code": 500},
    "a detail text": {"detail": _OOM},
    "a detail object": {"detail": {"msg": _OOM, "type": "service_unavailable"}},
    "a detail list": {"detail": [{"loc": ["body"], "msg": _OOM, "type": "value_error"}]},
    "an error beside null fields": {"id": None, "choices": None, "error": {"message": _OOM}},
    "an error in an error": {"error": {"error": {"message": _OOM}}},
}


def _soon() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=7), usegmt=True)


def _moved(status: int) -> How:
    return body("moved", "text/plain", status, headers={"location": "http://elsewhere/api"})


def _first(value: Any) -> How:
    """In place of the first token."""

    def change(wire: Wire, frames: list[bytes]) -> list[bytes]:
        return [*frames[: first_text(frames)], wire.written(value), *frames[-1:]]

    return answering(change)


def _between(value: Any) -> How:
    """Between two tokens; the answer goes on behind it."""

    def change(wire: Wire, frames: list[bytes]) -> list[bytes]:
        at = 0 if wire.whole else first_text(frames) + 2
        kept = [] if wire.whole else frames[at:]
        return [*frames[:at], wire.written(value), *kept]

    return answering(change)


def _own(wire: Wire, frames: list[bytes]) -> list[bytes]:
    """In the server's own way, in the middle."""
    at = 0 if wire.whole else first_text(frames) + 1
    own = wire.server.broken(_OOM)
    return [*frames[:at], wire.error(_OOM) if own is None else own]


def _named(name: str, data: str) -> How:
    """An event of another kind, where there are events."""

    def change(wire: Wire, frames: list[bytes]) -> list[bytes]:
        at = 0 if wire.whole else first_text(frames) + 1
        if wire.reply.type in (LINES, None) or wire.whole:
            return [*frames[:at], wire.written({"error": _OOM})]
        return [*frames[:at], f"{name}{data}\n\n".encode()]

    return answering(change)


def _drip_of_an_error() -> How:
    def how(wire: Wire) -> Reply:
        return Reply([b"x"] * 300, 500, "text/plain", chunked=True, pause=0.1)

    return how


def _late(seconds: Callable[[], str] | str, name: str = "retry_after") -> How:
    def how(wire: Wire) -> Reply | None:
        value = seconds if isinstance(seconds, str) else seconds()
        return refusing(429, "Slow down please", **{name: value})(wire)

    return how


STATUSES = (
    Fault("400", refusing(400, "Bad top_q"), "error", REFUSED, "Bad top_q"),
    Fault("401", refusing(401, "Wrong key"), "error", REFUSED, "Wrong key"),
    Fault("403", refusing(403, "Not for you"), "error", REFUSED, "Not for you"),
    Fault("404", refusing(404, "No such model"), "error", REFUSED, "(status 404)"),
    Fault("405", refusing(405, "Use GET here"), "error", REFUSED, "Use GET here"),
    Fault("408", refusing(408, "Too slow a body"), "error", FAILED, "Too slow a body"),
    Fault("409", refusing(409, "It is locked"), "error", (*REFUSED, *FAILED), "It is locked"),
    Fault("413", refusing(413, "Too much text"), "error", REFUSED, "Too much text"),
    Fault("422", refusing(422, "Bad top_q"), "error", REFUSED, "Bad top_q"),
    Fault("429", refusing(429, "Slow down"), "error", (429,), "Slow down", retry_after=1),
    Fault("429 in 7 s", _late("7"), "error", (429,), "Slow down", retry_after=7),
    Fault("429 with a date", _late(_soon), "error", (429,), "Slow down", retry_after=7),
    Fault(
        "429 in 1500 ms",
        _late("1500", "retry_after_ms"),
        "error",
        (429,),
        "Slow down",
        retry_after=2,
    ),
    Fault("429 with a wait of no sense", _late("soon"), "error", (429,), retry_after=1),
    Fault("429 in the past", _late("-5"), "error", (429,), retry_after=1),
    Fault("429 for good", body(json.dumps(_SPENT), status=429), "error", REFUSED, "no credit"),
    Fault("500", refusing(500, _OOM), "error", FAILED, _OOM),
    Fault("500 with nothing", body("", None, 500), "error", FAILED, "500"),
    Fault("500 in HTML", body(_HTML, "text/html", 500), "error", FAILED, "Bad Gateway"),
    Fault("500 with half of JSON", body('{"error": {"mess', status=500), "error", FAILED, "mess"),
    Fault("500 in UTF-16", body(_OOM.encode("utf-16"), "text/plain", 500), "error", FAILED),
    Fault("500 that drips", _drip_of_an_error(), "error", FAILED, hasty=True),
    Fault("501", refusing(501, "Not written yet"), "error", REFUSED, "Not written yet"),
    Fault("502 in HTML", body(_HTML, "text/html", 502), "error", FAILED, "Bad Gateway"),
    Fault("503 while loading", refusing(503, "Loading model"), "error", (503,), "Loading model"),
    Fault("503 busy", refusing(503, "Server busy"), "error", (429, 503), "Server busy"),
    Fault(
        "503 for 7 s",
        refusing(503, "Loading model", retry_after="7"),
        "error",
        (503,),
        "Loading model",
        retry_after=7,
    ),
    Fault("504 in HTML", body(_HTML, "text/html", 504), "error", FAILED, "Bad Gateway"),
    Fault("529", refusing(529, "Overloaded"), "error", (429, *FAILED), "Overloaded"),
    Fault("299", body("{}", status=299), "error", (*FAILED, *REFUSED)),
    Fault("204", body("", None, 204), "error", (*FAILED, *REFUSED)),
    Fault("301", _moved(301), "error", REFUSED, "http://elsewhere/api"),
    Fault("302", _moved(302), "error", REFUSED, "http://elsewhere/api"),
    Fault("307", _moved(307), "error", REFUSED, "http://elsewhere/api"),
    Fault("308 to nowhere", body("moved", "text/plain", 308), "error", REFUSED),
    Fault("304", body("", None, 304), "error", REFUSED),
    Fault("too long", body(json.dumps(_TOO_LONG), status=400), "error", (400,), "context size"),
)

INSIDE = (
    *(
        Fault(f"200 with {name}", body(json.dumps(value)), "error", words=_OOM)
        for name, value in ENVELOPES.items()
    ),
    *(
        Fault(f"{name} in the first frame", _first(value), "error", words=_OOM)
        for name, value in ENVELOPES.items()
    ),
    *(
        Fault(f"{name} between two frames", _between(value), "error", words=_OOM)
        for name, value in ENVELOPES.items()
    ),
    Fault("200 with too long a prompt", body(json.dumps(_TOO_LONG)), "error", (400,)),
    Fault("200 with a text", body(_OOM, "text/plain"), "error", words=_OOM),
    Fault("200 with HTML", body(_HTML, "text/html"), "error", words="Bad Gateway"),
    Fault("200 with a text called events", body(_OOM, EVENTS), "error"),
    Fault("its own error in the middle", answering(_own), "error"),
    Fault("an error event", _named("event: error\ndata: ", _OOM), "error", words=_OOM),
    Fault("an error line", _named("error: ", _NESTED), "error", words=_OOM),
    Fault(
        "an error event without the empty line",
        answering(lambda wire, frames: [wire.written({"error": _OOM}).rstrip()]),
        "error",
        words=_OOM,
    ),
)
FAULTS = (*STATUSES, *INSIDE)
