"""The formats of JSON Schema, each as a regular expression for the whole string.

Where a format is not regular, or a validator's idea of it is wider than anyone needs, the
expression is the stricter one: leap seconds are those of UTC, lengths of labels are bounded by
their number, internationalised names have the letters of the larger scripts without their
special cases, an expression in the format `regex` uses what all engines agree on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final


def _any(*ways: str) -> str:
    return f"(?:{'|'.join(ways)})"


# RFC 3339, appendix A.
_DATE: Final = (
    "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    "|(?:[0-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)"
)
_CLOCK: Final = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_PART: Final = r"(?:\.[0-9]{1,9})?"
_TIME: Final = f"(?:{_CLOCK}:[0-5][0-9]{_PART}(?:[Zz]|[+-]{_CLOCK})|23:59:60{_PART}[Zz])"
_COUNT: Final = "[0-9]{1,9}"
_HOURS: Final = f"T(?:{_COUNT}H(?:{_COUNT}M(?:{_COUNT}S)?)?|{_COUNT}M(?:{_COUNT}S)?|{_COUNT}S)"
_DAYS: Final = f"(?:{_COUNT}Y(?:{_COUNT}M(?:{_COUNT}D)?)?|{_COUNT}M(?:{_COUNT}D)?|{_COUNT}D)"


# RFC 1123 with the lengths of RFC 1035, and without two hyphens in the third and fourth place,
# which RFC 5890 keeps for encoded names.
def _label(letters: str, longest: int) -> str:
    one, any_ = f"[{letters}]", f"[{letters}-]"
    if longest < 5:
        return f"{one}{{1,{longest}}}"
    return (
        f"{one}(?:{any_}?{one}|{any_}{one}{any_}{{0,{longest - 4}}}{one}"
        f"|{any_}-{one}(?:{any_}{{0,{longest - 5}}}{one})?)?"
    )


def _names(label: str, least: int, most: int) -> str:
    return rf"{label}(?:\.{label}){{{least - 1},{most - 1}}}"


_ASCII: Final = "A-Za-z0-9"
# Lower-case letters of Latin, Greek and Cyrillic scripts, kana, Chinese and Korean ones.
_LETTERS: Final = "à-öø-ÿα-ρσ-ώа-яё-џぁ-ゖァ-ヺ一-龥가-힣"
_LONGEST_HOST: Final = 253
_LONGEST_LOCAL: Final = 64


def _host(most: int = _LONGEST_HOST) -> str:
    """A name: few long labels, or more short ones."""
    ways = [
        _names(_label(_ASCII, min(63, (most + 1) // count - 1)), count, count)
        for count in range(1, 4)
        if (most + 1) // count > 1
    ]
    if 24 < most < _LONGEST_HOST:
        # One long label among short ones.
        size = 6 if most < 40 else 8
        short, long = _label(_ASCII, size), _label(_ASCII, min(63, most - 3 * size - 3))
        ways.append(rf"(?:{short}\.)?{long}(?:\.{short}){{1,2}}")
    size = min(20, (most + 1) // 6 - 1)
    if size > 5:
        ways.append(_names(_label(_ASCII, size), 4, min(12, (most + 1) // (size + 1))))
    return _any(*ways)


def _idn_host(most: int = _LONGEST_HOST) -> str:
    # An encoded letter takes up to six characters of the 63 that a label may have.
    ways = [
        _names(_label(f"a-z0-9{_LETTERS}", min(9, (most + 1) // count - 1)), count, count)
        for count in range(1, 5)
        if (most + 1) // count > 1
    ]
    return _any(_host(most), *ways)


_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_GROUP: Final = "[0-9A-Fa-f]{1,4}"
_LAST: Final = f"(?:{_GROUP}:{_GROUP}|{_IPV4})"


def _groups_before(most: int) -> str:
    return f"(?:{_GROUP}(?::{_GROUP}){{0,{most - 1}}})?"


_IPV6: Final = _any(
    f"(?:{_GROUP}:){{6}}{_LAST}",
    f"::(?:{_GROUP}:){{5}}{_LAST}",
    *(f"{_groups_before(5 - left)}::(?:{_GROUP}:){{{left}}}{_LAST}" for left in range(4, -1, -1)),
    f"{_groups_before(6)}::{_GROUP}",
    f"{_groups_before(7)}::",
)


# RFC 5321, with a name after the '@' and as many characters before it as there may be.
def _mailbox(letters: str, host: Callable[[int], str], most: int | None) -> str:
    atom = f"[{letters}!#$%&'*+/=?^_`{{|}}~-]"
    both = _LONGEST_LOCAL + _LONGEST_HOST if most is None else most - 1
    splits = {(min(_LONGEST_LOCAL, both - 65), min(both - _LONGEST_LOCAL, _LONGEST_HOST))}
    if both < _LONGEST_LOCAL + 65:
        # Either side may be the longer one.
        splits = {(both * part // 6, both - both * part // 6) for part in (2, 3, 4)}
    ways = []
    for local, name in sorted(splits):
        texts = [f"{atom}{{1,{local}}}"]
        if local > 3:
            texts.append(rf'"[A-Za-z0-9 .@+_-]{{1,{local - 2}}}"')
        texts += [
            rf"{atom}{{1,{size}}}(?:\.{atom}{{1,{size}}}){{{count - 1}}}"
            for count in range(2, 6)
            if (size := (local + 1) // count - 1) > 1
        ]
        ways.append(f"{_any(*texts)}@{host(name)}")
    return _any(*ways)


# RFC 3986, and RFC 3987 with its further characters except those for private use.
_UCS: Final = (
    r"\xA0-\uD7FF\uF900-\uFDCF\uFDF0-\uFFEF"
    + "".join(rf"\u{{{plane:X}0000}}-\u{{{plane:X}FFFD}}" for plane in range(1, 14))
    + r"\u{E1000}-\u{EFFFD}"
)
_ESCAPED: Final = "%[0-9A-Fa-f]{2}"


def _resource(further: str, address: str) -> tuple[str, str]:
    """The expressions for absolute and for all references, with these characters besides ASCII.

    `address` is what may stand for a host's name, with the bar behind it. From the first slash
    or question mark after the authority on, path and query are alike.
    """
    plain = rf"A-Za-z0-9._~!$&'()*+,;={further}-"
    tail = f"(?:[/?:@{plain}]|{_ESCAPED})*"
    authority = rf"(?:[:{plain}]*@)?(?:{address}[{plain}]*)(?::[0-9]*)?"
    absolute = f"//{authority}(?:[/?]{tail})?"
    rooted = rf"/(?:(?:[:@{plain}]|{_ESCAPED}|\?){tail})?"
    free = rf"(?:[:@{plain}]|{_ESCAPED}|\?){tail}"
    relative = rf"(?:[@{plain}]|{_ESCAPED})+(?:[/?]{tail})?|\?{tail}"
    scheme = f"[A-Za-z][A-Za-z0-9+.-]*:(?:{absolute}|{rooted}|{free})?"
    return f"{scheme}(?:#{tail})?", f"(?:{scheme}|{absolute}|{rooted}|{relative})?(?:#{tail})?"


_NAME: Final = f"(?:[A-Za-z0-9_]|{_ESCAPED})"
_VARIABLE: Final = rf"{_NAME}(?:\.?{_NAME})*(?::[1-9][0-9]{{0,3}}|\*)?"
# RFC 6570 without the operators that are kept for later.
_TEMPLATE: Final = (
    rf"(?:[!#$&'()*+,./0-9:;=?@A-Z\[\]_a-z~{_UCS}-]|{_ESCAPED}"
    rf"|\{{[+#./;?&]?{_VARIABLE}(?:,{_VARIABLE})*\}})*"
)
# RFC 6901.
_POINTER: Final = "(?:/(?:[^/~]|~[01])*)*"


def _expressions() -> str:
    """Regular expressions with groups up to four deep."""
    plain = r"[A-Za-z0-9 !\"#%&',/:;<=>@_`~-]|\\[dDwWsStnrfv^$\\.*+?()\[\]{}|/-]"
    ranges = "|".join(
        f"{chr(code)}-[{chr(code)}-{last}]"
        for first, last in (("a", "z"), ("A", "Z"), ("0", "9"))
        for code in range(ord(first), ord(last) + 1)
    )
    member = r"[A-Za-z0-9 !\"#$%'()*+,./:;<=>?@_`{|}]|\\[dwsDWStnr\\.\[\]^/-]"
    one = rf"(?:{plain}|\.|\[\^?(?:{ranges}|{member})+-?\])"
    count = r"(?:[*+?]|\{[0-9]{1,2}(?:,|,[1-9][0-9]{2})?\})\??"
    item = f"{one}(?:{count})?"
    ahead = rf"\(\?[=!](?:{item}|\|)*\)"
    for _ in range(4):
        item = rf"(?:{one}|\((?:\?:)?(?:{item}|{ahead}|\|)*\))(?:{count})?"
    return rf"(?:\^|{item}|{ahead}|\||\$)*"


_SIMPLE: Final[dict[str, str]] = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}[Tt]{_TIME}",
    "duration": f"P(?:{_DAYS}(?:{_HOURS})?|{_HOURS}|{_COUNT}W)",
    "ipv4": _IPV4,
    "ipv6": _IPV6,
    "uuid": "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
    "uri-template": _TEMPLATE,
    "json-pointer": _POINTER,
    "relative-json-pointer": rf"(?:0|[1-9][0-9]{{0,8}})(?:#|{_POINTER})",
}
_REFERENCES: Final = ("uri", "iri", "uri-reference", "iri-reference")
_NAMES: Final = ("hostname", "idn-hostname", "email", "idn-email")
# Formats with a simpler expression for texts of a greatest length.
BOUNDED: Final = frozenset((*_REFERENCES, *_NAMES))
_SHORTEST_BOUND: Final = 5
FORMATS: Final = frozenset((*_SIMPLE, *BOUNDED, "regex"))


@lru_cache(maxsize=128)
def expression(name: str, most: int | None = None) -> str | None:
    """The anchored expression of a format; None for one that is not defined.

    With `most`, names and mailboxes are not longer than that, where that leaves any that are
    worth having, and references have no addresses in them.
    """
    longest = _LONGEST_HOST if name.endswith("hostname") else _LONGEST_LOCAL + 1 + _LONGEST_HOST
    if most is not None and name in _NAMES and not _SHORTEST_BOUND <= most < longest:
        most = None
    if name in _SIMPLE:
        found = _SIMPLE[name]
    elif name in _REFERENCES:
        # Where lengths are counted, addresses of version 6 would take most of the room.
        address = rf"\[{_IPV6}\]|" if most is None else ""
        absolute, every = _resource(_UCS if name.startswith("iri") else "", address)
        found = every if name.endswith("reference") else absolute
    elif name == "hostname":
        found = _host(most or _LONGEST_HOST)
    elif name == "idn-hostname":
        found = _idn_host(most or _LONGEST_HOST)
    elif name == "email":
        found = _mailbox(_ASCII, _host, most)
    elif name == "idn-email":
        found = _mailbox(_ASCII + _LETTERS, _idn_host, most)
    elif name == "regex":
        found = _expressions()
    else:
        return None
    return f"^(?:{found})$"
