"""Faults of what an answer says: its frames, their fields, its end, its numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from answer_frames import (
    Wire,
    again,
    changed,
    choice_of,
    counted,
    end_of,
    ends,
    first_text,
    text_at,
    text_of,
    uncounted,
    value_of,
    with_text,
    without_end,
)
from fault import FAILED, REFUSED, Fault, How, answering, body
from wire_servers.base import EVENTS, LINES

_MIB = 1 << 20
_WORDS = "Zoë 😀 漢字 \u2028 naïve"
_DOCUMENT: Any = ("answer", "one document, which has no other end")
_NO_WORD: Any = ("either", "its format has no such reason for an end")
_UNKNOWN = {
    "llamacpp": _NO_WORD,
    "ollama": _NO_WORD,
    "ollama-chat": _NO_WORD,
    "textgen-legacy": ("answer", "its format has no reasons for an end"),
}


def _text(*pieces: Any) -> How:
    """The answer with these pieces for its text."""

    def change(wire: Wire, frames: list[bytes]) -> list[bytes]:
        at = first_text(frames)
        if wire.whole:
            return [with_text(frames[at], pieces[0] if len(pieces) == 1 else "".join(pieces))]
        texts = [frame for frame in frames if text_of(frame)]
        rest = [frame for frame in frames[at:] if frame not in texts]
        return [*frames[:at], *(with_text(frames[at], piece) for piece in pieces), *rest]

    return answering(change)


def _one(piece: Any) -> How:
    """The answer with something else in place of its second piece, or of all of it."""

    def change(wire: Wire, frames: list[bytes]) -> list[bytes]:
        at = first_text(frames) + (not wire.whole)
        return [*frames[:at], with_text(frames[at], piece), *frames[at + 1 :]]

    return answering(change)


def _bytes(change: Callable[[bytes], bytes]) -> How:
    """The whole body with other bytes."""
    return answering(lambda wire, frames: [change(b"".join(frames))])


def _cut_into(size: int) -> How:
    def change(wire: Wire, frames: list[bytes]) -> list[bytes]:
        at = first_text(frames)
        words = with_text(frames[at], _WORDS)
        text = value_of(words)
        words = again(words, json.dumps(text, ensure_ascii=False))
        rest = [] if wire.whole else [frame for frame in frames[at:] if not text_of(frame)]
        data = b"".join([*frames[:at], words, *rest])
        return [data[n : n + size] for n in range(0, len(data), size)]

    return answering(change)


def _added(*values: Any) -> How:
    """The answer with further frames in front of it and between its pieces."""

    def change(wire: Wire, frames: list[bytes]) -> list[bytes]:
        further = [wire.written(value) for value in values]
        if wire.whole:
            return frames
        at = first_text(frames) + 2
        return [*further, *frames[:at], *further, *frames[at:]]

    return answering(change)


def _each(change: Callable[[Any], Any]) -> How:
    return answering(lambda wire, frames: changed(frames, change))


def _nulls(value: Any) -> Any:
    """All fields null, but for the texts and what marks the end."""
    kept = ("stop", "done", "finish_reason", "stop_type", "done_reason", "tokens_predicted")
    if isinstance(value, dict):
        return {
            name: inner if name in kept or isinstance(inner, str) else _nulls(inner)
            for name, inner in value.items()
        }
    return [_nulls(inner) for inner in value] if isinstance(value, list) else None


def _nonsense(value: Any) -> Any:
    """All fields that say nothing of the answer of a type that they never have."""
    strange: dict[str, Any] = {"logprobs": 5, "id": [], "model": 7, "created": "now"}
    strange |= {"object": None, "timings": "fast", "usage": [1], "tokens": {}, "index": "0"}
    return {**value, **strange, "llmgate": {"notes": 5}} if isinstance(value, dict) else value


def _ended_by(reason: Any) -> How:
    """The end with another reason."""

    def change(value: Any) -> Any:
        if isinstance(value, dict):
            for holder in (choice_of(value), value):
                for name in ("finish_reason", "done_reason", "stop_type"):
                    if holder.get(name) is not None:
                        holder[name] = reason
        return value

    return answering(
        lambda wire, frames: [
            again(frame, change(value_of(frame))) if ends(frame) else frame for frame in frames
        ]
    )


def _behind_the_end(further: Callable[[Wire, list[bytes]], list[bytes]], *, done: bool) -> How:
    """More behind the mark of the end; with `done` behind all of the answer."""

    def change(wire: Wire, frames: list[bytes]) -> list[bytes]:
        if wire.whole:
            return frames
        at = len(frames) if done else end_of(frames) + 1
        return [*frames[:at], *further(wire, frames), *frames[at:]]

    return answering(change)


def _more_text(wire: Wire, frames: list[bytes]) -> list[bytes]:
    return [with_text(frames[first_text(frames)], " And more.")]


def _nothing_but_the_end(wire: Wire, frames: list[bytes]) -> list[bytes]:
    if wire.whole:
        return [with_text(frames[0], "")]
    return counted([frame for frame in frames if not text_of(frame)], 0)


def _spaced(data: bytes) -> bytes:
    """Comments, other fields, no space behind the colon, CR and LF: all that events may have."""
    if not data.startswith((b"data: ", b"event: ")):
        return data
    data = data.replace(b"data: ", b": ping\n\n: pong\nid: 7\nretry: 100\nunknown\ndata:")
    return data.replace(b"\n", b"\r\n")


def _over_lines(wire: Wire, frames: list[bytes]) -> list[bytes]:
    """Each JSON text over several lines of data, where events may have them."""
    if wire.reply.type != EVENTS:
        return frames
    return [
        frame
        if (value := value_of(frame)) is None
        else b"".join(
            b"data: %b\n" % part for part in json.dumps(value, indent=1).encode().split(b"\n")
        )
        + b"\n"
        for frame in frames
    ]


def _doubled_keys(wire: Wire, frames: list[bytes]) -> list[bytes]:
    doubled = []
    for frame in frames:
        value = value_of(frame)
        if isinstance(value, dict) and value:
            text = json.dumps(value)
            frame = again(frame, f"{text[:-1]}, {text[1:]}")
        doubled.append(frame)
    return doubled


def _deep(wire: Wire, frames: list[bytes]) -> list[bytes]:
    at = first_text(frames)
    text = json.dumps(value_of(frames[at]))
    deep = again(frames[at], text[:-1] + ', "x": ' + "[" * 20_000 + "]" * 20_000 + "}")
    return [*frames[:at], deep, *frames[at + 1 :]]


def _surrogate(wire: Wire, frames: list[bytes]) -> list[bytes]:
    at = first_text(frames)
    lone = with_text(frames[at], "HERE").replace(b"HERE", b"\\ud800")
    return [*frames[:at], lone, *frames[at + 1 :]]


def _bad_bytes(wire: Wire, frames: list[bytes]) -> list[bytes]:
    at = first_text(frames)
    bad = with_text(frames[at], "HERE").replace(b"HERE", b"\xff\xfe\xc3")
    return [*frames[:at], bad, *frames[at + 1 :]]


def _done_alone(wire: Wire, frames: list[bytes]) -> list[bytes]:
    return [wire.written({}) if wire.whole else b"data: [DONE]\n\n"]


def _text_frames(wire: Wire, frames: list[bytes]) -> list[bytes]:
    """Without the end mark, but with what comes behind it."""
    return [frame for frame in frames if not ends(frame)]


def _long_line(wire: Wire, frames: list[bytes]) -> list[bytes]:
    at = 0 if wire.whole else first_text(frames) + 1
    return [*frames[:at], b"data: ", *[b" " * _MIB] * 17]


def _pieces_that_are_no_text(value: Any) -> Any:
    found = text_at(value)
    if found is not None:
        found[0][found[1]] = None
    return value


def _typed(kind: str | None, expects: Any, name: str) -> Fault:
    how = answering(lambda wire, frames: frames, type=kind)
    return Fault(name, how, expects, (*FAILED, *REFUSED))


def _in_capitals(wire: Wire) -> Any:
    kind = (wire.reply.type or "").title() + "; Charset=UTF-8"
    return answering(lambda wire, frames: frames, type=kind)(wire)


BODIES = (
    Fault("an empty 200", body(""), "error"),
    Fault("an empty 200 of events", body("", EVENTS), "error"),
    Fault("an empty 200 of lines", body("", LINES), "error"),
    Fault("an empty 200 of no type", body("", None), "error"),
    Fault("an empty stream", answering(lambda wire, frames: []), "error"),
    Fault("a stream of empty lines", answering(lambda wire, frames: [b"\n"] * 9), "error"),
    Fault("200 with half of JSON", body('{"content": "Hel'), "error"),
    Fault("200 with other JSON", body('{"ok": true, "models": []}'), "error"),
    Fault("200 with a list", body("[1, 2, 3]"), "error"),
    Fault("200 with null", body("null"), "error"),
    Fault("200 with a number", body("NaN"), "error"),
    _typed("text/html", "error", "an answer called HTML"),
    _typed("application/octet-stream", "either", "an answer called bytes"),
    _typed(None, "either", "an answer of no type"),
    Fault("an answer whose type is in capitals", _in_capitals, "answer"),
    Fault("UTF-16", _bytes(lambda data: data.decode().encode("utf-16")), "error"),
    Fault("a BOM in front", _bytes(lambda data: b"\xef\xbb\xbf" + data), "answer"),
    Fault("CR and LF, comments, other fields", _bytes(_spaced), "answer"),
    Fault("CR alone", _bytes(lambda data: data.replace(b"\n", b"\r")), "either"),
    Fault("JSON over several lines", answering(_over_lines), "answer"),
    Fault("NUL between frames", answering(lambda w, f: [b"\0\n\n", *f]), "either"),
    Fault("NUL in a frame", _bytes(lambda data: data.replace(b'{"', b'{\0"')), "error"),
    Fault("bytes that are no UTF-8", answering(_bad_bytes), "either", says=()),
    Fault("UTF-8 cut in the middle", _cut_into(1), "answer", says=(_WORDS,)),
    Fault("cut anywhere", _cut_into(7), "answer", says=(_WORDS,)),
    Fault("all at once", _bytes(bytes), "answer"),
    Fault("a line without end", answering(_long_line), "error"),
    Fault("a piece of 200 kB", _text("x" * 200_000), "answer", says=("x" * 200_000,)),
)

FIELDS = (
    Fault("other fields null", _each(_nulls), "answer"),
    Fault("other fields of nonsense types", _each(_nonsense), "answer"),
    Fault("keys twice", answering(_doubled_keys), "answer"),
    Fault("fields as deep as a well", answering(_deep), "either"),
    Fault("half of a surrogate", answering(_surrogate), "either", says=()),
    Fault("a text that is a number", _one(42), "error"),
    Fault("a text that is true", _one(True), "error"),
    Fault("a text that is an object", _one({"text": "no"}), "error"),
    Fault("texts that are null", _each(_pieces_that_are_no_text), "either", says=("",)),
    Fault("NUL in the text", _text("a\0b"), "answer", says=("a\0b",)),
    Fault("empty objects between", _added({}, {}), "answer"),
    Fault(
        "frames of other shapes",
        _added({"choices": []}, {"choices": [None]}, {"choices": "no"}, {"message": 7}),
        "answer",
    ),
    Fault("a frame that is a list", _added([1]), "error", but={"textgen-legacy": _DOCUMENT}),
    Fault("a frame that is a text", _added('"Hi"'), "error", but={"textgen-legacy": _DOCUMENT}),
    Fault("a frame that is no JSON", _added("{'a':"), "error", but={"textgen-legacy": _DOCUMENT}),
    Fault("no numbers of tokens", answering(lambda w, f: uncounted(f)), "answer"),
    *(
        Fault(f"{name} for numbers of tokens", answering(lambda w, f, n=n: counted(f, n)), "answer")
        for name, n in {
            "texts": "many",
            "negative ones": -5,
            "fractions": 3.5,
            "lists": [1],
            "true": True,
            "null": None,
            "absurd ones": 10**30,
        }.items()
    ),
)

ENDS = (
    Fault("no end mark", answering(lambda w, f: without_end(f)), "error"),
    Fault("[DONE] in place of the end mark", answering(_text_frames), "error"),
    Fault("[DONE] alone", answering(_done_alone), "error"),
    Fault(
        "nothing but the end",
        answering(_nothing_but_the_end),
        "error",
        says=("",),
        but={"llama-cpp-python": ("answer", "it tells no numbers that a failure would differ in")},
    ),
    Fault("nothing behind the end mark", answering(lambda w, f: f[: end_of(f) + 1]), "answer"),
    Fault("the end mark twice", _behind_the_end(lambda w, f: [f[end_of(f)]], done=False), "answer"),
    Fault("the last frame twice", _behind_the_end(lambda w, f: f[-1:], done=True), "answer"),
    Fault("all of it twice", answering(lambda w, f: f if w.whole else [*f, *f]), "answer"),
    Fault(
        "an error behind the end mark",
        _behind_the_end(lambda w, f: [w.error("too late")], done=False),
        "answer",
    ),
    Fault(
        "an error behind the end",
        _behind_the_end(lambda w, f: [w.error("too late")], done=True),
        "answer",
    ),
    Fault("text behind the end mark", _behind_the_end(_more_text, done=False), "answer"),
    Fault("text behind the end", _behind_the_end(_more_text, done=True), "answer"),
    Fault(
        "garbage behind the end mark",
        _behind_the_end(lambda w, f: [b"}\0{\n\n"], done=False),
        "answer",
    ),
    Fault("an end for no known reason", _ended_by("banana"), "either"),
    Fault("an end whose reason is a number", _ended_by(5), "either"),
    Fault("an end by a failure", _ended_by("error"), "error", but=_UNKNOWN),
    Fault(
        "an end by an abort", _ended_by("abort"), "error", but={**_UNKNOWN, "koboldcpp": _NO_WORD}
    ),
)
FAULTS = (*BODIES, *FIELDS, *ENDS)
