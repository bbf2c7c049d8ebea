"""Why a server reads a prompt again: where it stops being the one before, and what did that.

A server keeps what it has read of a prompt, and goes on from the first token in which the next
one differs. So the turns of a conversation are cheap as long as each prompt begins with the whole
of the one before; one changed word at the beginning makes it read everything again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

_SHOWN = 60
# A token is rarely longer than a word with the blank before it.
_TOKEN = re.compile(r"\s?\w+|\s?[^\w\s]|\s+")
_CHARACTERS_PER_TOKEN = 4
_TAG = re.compile(r"<(?P<end>/?)(?P<label>[\w.-]+)(?: characters=[^>]*)?>")
_FUNCTIONS = re.compile(r"Available functions:|\[AVAILABLE_TOOLS\]|<tools>|# Tools", re.IGNORECASE)
# A line of such a list: an indented one, JSON, or none at all.
_LISTED = re.compile(r"\s|\{|\Z")
_MEMORY_LINE = "### Memory [last modified:"
_COUNTS = ("are in recall memory", "are in archival memory")
# Parts of a message that are named beside it.
_PARTS = ("the core-memory", "the list of", "the line with", "the summary")
_SUMMARY = "of this conversation are not shown any more"
_MESSAGES = list[dict[str, Any]]
_TYPE = re.compile(r'"type":\s*"(\w+)"')
_STATUS = re.compile(r'"status":\s*"(?:OK|Failed)"')
_TIME = re.compile(
    r"\d{4}-\d{2}-\d{2}|\d{1,2}:\d{2}|\d{1,2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
)
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}|call_\w{6,}|[0-9a-f]{16,}")


class Place(msgspec.Struct, frozen=True):
    """What of a prompt begins at a character: a message, a block, a line of the template.

    `template` is the number of the template's line that wrote it, and `written` that line.
    """

    start: int
    what: str
    template: int | None = None
    written: str = ""


class Explanation(msgspec.Struct, frozen=True):
    """How much of a prompt a server has read before, and what ends that.

    The first `shared` characters are the same, up to the column `column` of the line `line`;
    `before` and `after` are what stands there in the one prompt and in the other, cut. `token`
    and `old_token` are the first tokens that differ, about: empty where a prompt ends there.
    They begin at the character `start`.
    `what` is the part of the prompt that it is in, `template` the line of the template that wrote
    it (0: not known) and `written` that line. `why` is a guess at the cause, and what to do.

    `known` tokens are in the server's cache, `read` have to be read; `again` are those among them
    that were in the prompt before already, if only in another place. They are estimates unless
    `exact`. `grown`: nothing is read again, the prompt has only grown.
    """

    shared: int
    start: int
    line: int
    column: int
    before: str
    after: str
    old_token: str
    token: str
    what: str
    why: str
    known: int
    read: int
    again: int
    exact: bool = False
    template: int = 0
    written: str = ""

    @property
    def grown(self) -> bool:
        """Whether the one prompt begins with the whole of the other."""
        return not self.old_token

    @property
    def share(self) -> float:
        """The part of the prompt that a server does not have to read."""
        return self.known / (self.known + self.read) if self.known + self.read else 1.0

    def lines(self) -> list[str]:
        """What a person is told."""
        about = "" if self.exact else "about "
        total = self.known + self.read
        cost = f"{about}{self.read} of {total} tokens are read ({100 * self.share:.1f} % cached)"
        if self.grown:
            found = ["The prompt begins with the whole of the one before: nothing is read again."]
            return [*found, f"Cost: {cost}."]
        found = [
            f"First difference: token {self.known + 1}{'' if self.exact else ' or so'},"
            f" line {self.line}, column {self.column}, in {self.what}.",
            f"  before: {self.before}",
            f"  after:  {self.after}",
        ]
        if self.template:
            found.append(f"Written by line {self.template} of the template: {self.written}")
        if self.why:
            found.append(f"Cause: {self.why}")
        return [*found, f"Cost: {cost}, {about}{self.again} of them for the second time."]


def explain(
    before: str,
    after: str,
    *,
    places: Sequence[Place] = (),
    count: Callable[[str], int] | None = None,
) -> Explanation:
    """Compare two prompts of one conversation.

    `places` are the parts of `after`, in their order, where somebody knows them; otherwise they
    are told from the text. `count` counts the tokens of a text.
    """
    shared = _shared(before, after)
    start = _token_start(after, shared) if shared < len(before) else shared
    line = after.count("\n", 0, shared) + 1
    column = shared - (after.rfind("\n", 0, shared) + 1) + 1
    old, new = _token(before, start), _token(after, start)
    place = next((place for place in reversed(places) if place.start <= shared), None)
    found = _place(after if shared < len(after) else before, shared)
    what = place.what if place is not None and place.what else found
    if place is not None and found.startswith(_PARTS):
        what = f"{found}, in {place.what}" if place.what else found
    counted = count or estimated
    tokens = counted(after[:start])
    rest, was = counted(after[start:]), counted(before[start:])
    grown = shared == len(before)
    return Explanation(
        shared=shared,
        start=start,
        line=line,
        column=column,
        before=_excerpt(before, shared),
        after=_excerpt(after, shared),
        old_token="" if grown else old,
        token=new,
        what=what,
        why="" if grown else _why(before, after, shared, what),
        known=tokens,
        read=rest,
        again=0 if grown else min(rest, was),
        exact=count is not None,
        template=(place.template or 0) if place is not None else 0,
        written=place.written if place is not None else "",
    )


def estimated(text: str) -> int:
    """About how many tokens a text has."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // _CHARACTERS_PER_TOKEN)


def spelled_out(before: str, after: str) -> tuple[str, str, list[Place]]:
    """Two prompts that are messages in JSON as texts with a message under the other.

    That is what is kept of a model that is asked with messages. As JSON no prompt would begin
    with the whole of the one before: the array ends where the next message comes. The third value
    is where the messages of `after` begin. Prompts that are not both such arrays stay as they are.
    """
    one, other = _messages(before), _messages(after)
    if one is None or other is None:
        return before, after, []
    pieces = [_spelled_out(message) for message in other]
    places, start = [], 0
    for number, (message, piece) in enumerate(zip(other, pieces, strict=True), 1):
        places.append(Place(start, f"message {number} ({message['role']})"))
        start += len(piece)
    return "".join(map(_spelled_out, one)), "".join(pieces), places


def _messages(prompt: str) -> list[dict[str, Any]] | None:
    """The messages of a prompt that is a JSON array of them."""
    if not prompt.lstrip().startswith("[{"):
        return None
    try:
        found = msgspec.json.decode(prompt.encode("utf-8", "surrogatepass"), type=_MESSAGES)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return found if all(isinstance(message.get("role"), str) for message in found) else None


def _spelled_out(message: dict[str, Any]) -> str:
    """A message as lines: its role, its text as it reads, and as JSON what else it has."""
    content = message.get("content")
    rest = {
        key: value
        for key, value in message.items()
        if value and key != "role" and (key != "content" or not isinstance(value, str))
    }
    lines = [f"{message['role']}:"]
    if isinstance(content, str):
        lines.append(content)
    if rest:
        lines.append(msgspec.json.encode(rest).decode())
    return "\n".join(lines) + "\n"


def kept(before: str, after: str) -> dict[str, Any]:
    """Two prompts as they are stored, the second one as what it has after their common part."""
    shared = _shared(before, after)
    return {"before": before, "shared": shared, "rest": after[shared:]}


def texts(stored: Any) -> tuple[str, str] | None:
    """The two prompts in what `kept` made, None where it is something else."""
    match stored:
        case {"before": str(before), "shared": int(shared), "rest": str(rest)}:
            return before, before[:shared] + rest
    return None


def _shared(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginnings."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one.startswith(other[low:middle], low):
            low = middle
        else:
            high = middle - 1
    return low


def _token_start(text: str, at: int) -> int:
    """Where the token begins that a place is in: a word that differs at its end is another one."""
    start = at
    while start and text[start - 1].isalnum() and at - start < _SHOWN:
        start -= 1
    return start


def _token(text: str, at: int) -> str:
    found = _TOKEN.match(text, at)
    return found[0] if found else ""


def _excerpt(text: str, at: int) -> str:
    """What stands at a place, on one line, with a little before it; the place itself in »«."""
    start = max(text.rfind("\n", 0, at) + 1, at - _SHOWN // 2)
    begin = text[start:at]
    rest = text[at : at + _SHOWN]
    if not rest:
        return f"{'…' if start else ''}{begin}»« (the end)"
    shown = rest.replace("\n", "\\n")
    return f"{'…' if start else ''}{begin}»{shown}«{'…' if at + _SHOWN < len(text) else ''}"


def _place(text: str, at: int) -> str:
    """What of a prompt a place is in, told by the text alone."""
    begin = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    line = text[begin : end if end >= 0 else len(text)]
    if line.startswith(_MEMORY_LINE):
        return "the line with the time of the last memory edit"
    if any(words in line for words in _COUNTS):
        return "the line with the counts of the memories"
    if (label := _block(text, at)) is not None:
        return f"the core-memory block {label!r}"
    if (turn := _turn(text, begin, at)) is not None:
        return turn
    functions = [found.end() for found in _FUNCTIONS.finditer(text, 0, at)]
    if functions and all(_LISTED.match(line) for line in text[functions[-1] : at].split("\n")):
        return "the list of functions"
    return "the system text" if not _TYPE.search(text, 0, at) else "a message"


def _block(text: str, at: int) -> str | None:
    """The block of the core memory that a place is in, its head line included."""
    begin = text.rfind("\n", 0, at) + 1
    end = text.find(">", at)
    open_: list[str] = []
    for found in _TAG.finditer(text, 0, at):
        if not found["end"]:
            open_.append(found["label"])
        elif found["label"] in open_:
            del open_[open_.index(found["label"]) :]
    # A tag that is never closed is something else, as a mark of the prompt format.
    for label in reversed(open_):
        if f"</{label}>" in text[at:] or f"</{label}>"[: at - begin] == text[begin:at]:
            return label
    head = re.match(r"<([\w.-]+) characters=", text[begin : end + 1 if end >= 0 else len(text)])
    return head[1] if head else None


def _turn(text: str, begin: int, at: int) -> str | None:
    """The packaged event or result that a place is in."""
    start = text.rfind("{", 0, at + 1)
    for _ in range(8):
        if start < 0 or at - start > 20_000:
            return None
        head = text[start : start + 400]
        if (found := _TYPE.match(head[1:].lstrip())) is not None:
            if _SUMMARY in text[start : start + 2000]:
                return "the summary of what has left the window"
            return f"an event of the type {found[1]!r}"
        if _STATUS.match(head[1:].lstrip()):
            return "the result of a function"
        start = text.rfind("{", 0, start)
    return None


def _why(before: str, after: str, at: int, what: str) -> str:
    """A guess at what has changed, and what to do against it."""
    old, new = (text[max(0, at - 12) : at + 24] for text in (before, after))
    if "time of the last" in what or "counts of the memories" in what:
        return 'the head is written anew at each edit of the memory; layout = "cached" ends that'
    if "core-memory block" in what:
        return (
            'the core memory in the head has changed: with the layout "cached" that is so after'
            " a compaction only"
        )
    if "list of functions" in what:
        return "the functions are not the same or not in the same order: keep the list constant"
    if "summary" in what:
        return "the oldest messages have left the window, and a summary stands in their place"
    if _TIME.search(old) and _TIME.search(new):
        return "a date or time stands there: what changes belongs to the end of the prompt"
    if _ID.search(old) or _ID.search(new):
        return "an identifier that is new each time stands there"
    if old.split() and _plain(before[at:])[:200] == _plain(after[at:])[:200]:
        return "the same text in another layout (white space or line breaks)"
    if at == len(after):
        return "the end of the conversation was taken back"
    return "what stands there was changed, put in, or taken out after it had been sent"


def _plain(text: str) -> str:
    return "".join(text[:2000].split())
