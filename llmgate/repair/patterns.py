"""What faulty JSON is made of, as regular expressions, each linear in what it reads.

The looks ahead go no further than the next quote, so that all of them together read a text a
few times at most; comments, which may hide any number of quotes, are read 400 characters far.
"""

from __future__ import annotations

import re
from functools import lru_cache

QUOTES = {
    '"': '"',
    "'": "'",
    "`": "`",
    "“": '“”"',
    "”": '“”"',
    "„": '“”"',
    "‘": "‘’'",
    "’": "‘’'",
    "＂": "＂",
}
_QUOTE = "[" + "".join(QUOTES) + "]"
_SPACE = r"[\s\ufeff\u200b]"
# `""#fff""`, `""//host""`: directly behind a quote there is no comment.
_LINE = r"(?<![^\s,:\[\]{}])(?://|\#)"
_COMMENT = rf"(?:{_LINE}[^\n]*+|/\*(?:[^*]++|\*(?!/))*+\*/)"
_NEAR_COMMENT = rf"(?:{_LINE}[^\n]{{0,400}}+(?:\n|\Z)|/\*[^*]{{0,400}}+\*/)"
SKIP = re.compile(rf"{_SPACE}*+(?:({_COMMENT}){_SPACE}*+)*+")
PEEK = re.compile(rf"{_SPACE}*+(?:{_NEAR_COMMENT}{_SPACE}*+){{0,4}}")
COMMENT = re.compile(_COMMENT)
NOT_SPACE = re.compile(r"[^ \t\r\n]")
COLOR = re.compile(r"\s*+(?=#(?:[0-9a-fA-F]{3,4}){1,2}(?![\w$]))")

# Tokens that end a model's turn, taken away wherever the text ends with them.
_TURN_END = (
    r"(?:<\|[^|<>\n]{0,40}\|>|<\|>|</?s>|<｜[^｜<>\n]{1,40}｜>"
    r"|<(?:end_of_turn|eos|EOS_TOKEN|eot|EOT|pad)>|\[/INST\]|\[EOS\])"
)
LAST_TOKEN = re.compile(_TURN_END + r"\Z")
TOKEN = re.compile(_TURN_END)
# What ends a value where no string is open, and what does behind a quote: no other markup.
_WRAPPER = r"</?(?:tool|function|json|output|answer|response|result|arguments|call)[\w.-]{0,20}>"
STRING_END = re.compile(rf"{_TURN_END}|```|{_WRAPPER}")
END = re.compile(_TURN_END + r"|```|</?[A-Za-z_][\w:.-]{0,30}>")

LITERALS = {"true": True, "false": False, "null": None}
FOREIGN = {
    **{"True": True, "TRUE": True, "False": False, "FALSE": False},
    **{"None": None, "NULL": None, "Null": None, "nil": None},
}
NOT_JSON = ("NaN", "nan", "Infinity", "-Infinity", "+Infinity", "inf", "-inf", "undefined")
WORDS = (*LITERALS, *FOREIGN, *NOT_JSON)
_WORD = "(?:" + "|".join(sorted(map(re.escape, WORDS), key=len, reverse=True)) + r")(?![\w$])"
_NUMBER = r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?"
# Python's and JavaScript's numbers too, and those with leading zeros.
_ANY_NUMBER = (
    r"[-+]?(?:0[xX][0-9a-fA-F]++|(?:[0-9]++(?:_[0-9]++)*+(?:\.[0-9]*+)?|\.[0-9]++)"
    r"(?:[eE][-+]?[0-9]++)?)(?![\w$])"
)
CANONICAL = re.compile(_NUMBER + r"\Z")
CUT_NUMBER = re.compile(r"[-+]?[\d_]*\.?[\d_]*(?:[eE][-+]?\d*)?\Z|[-+]?0[xX][\da-fA-F]*\Z")
# 1,000 with a comma for people.
GROUPED = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?=\s*+[,}\n])")

_DOUBLE = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SINGLE = r"'[^'\\]*+(?:\\.[^'\\]*+)*+'"
_OTHER = r'(?:[“”„][^“”"]*+[“”"]|[‘’][^‘’\']*+[‘’\']|`[^`]*+`|＂[^＂]*+＂)'
_STRING = f"(?:{_DOUBLE}|{_SINGLE}|{_OTHER})"
_CUT_STRING = r"""(?:"[^"\\]*+(?:\\.[^"\\]*+)*+\\?|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+\\?)\Z"""
STRING = re.compile(_STRING, re.DOTALL)
CUT_STRING = re.compile(_CUT_STRING, re.DOTALL)
_VALUE_START = rf"(?:{_QUOTE}|[{{\[]|[-+]?[0-9.]|{_WORD})"
VALUE_START = re.compile(_VALUE_START)
# A key without its closing quote.
_LOST_KEY = rf'"([\w$.@/-][^"\\,\n{{}}\[\]]{{0,100}}?):\s*+{_VALUE_START}'
LOST_KEY = re.compile(_LOST_KEY)
LOST_QUOTE = re.compile(
    rf"\s++(?=[{{\[]\s*+\Z)|\s*?[:=][:=>]*+(?=\s*+(?:\Z|[{{\[]|{_ANY_NUMBER}\s*+[,}}\]\n]|{_WORD}\s*+[,}}\]\n]))"
)
LOST_COLON = re.compile(rf"\s*?(?::|=>?)(?=\s*+{_VALUE_START})")
UNOPENED_ITEM = re.compile(r'[^"\[\]{}\n]*+"(?=\s*+[,\]])')
COLON = re.compile(r"[:：=](?:[:：=>])*+")
_SIGN = rf"\s*+(?:{_COMMENT}\s*+)*+([:：=][:：=>]*+)"
BARE_KEY = re.compile(rf"""([A-Za-z_$@][\w$.@/-]*+|-?\d{{1,20}})["']?{_SIGN}""")
# Other text before a colon, first with a value behind it.
LOOSE_KEYS = (
    re.compile(
        rf"""([^\s"'{{}}\[\],:，=][^"'{{}}\[\],\n，]{{0,200}}?)["']?{_SIGN}(?=\s*+(?:{_QUOTE}"""
        rf"""|[{{\[]|(?:{_NUMBER}|{_WORD})\s*+(?:[,}}\]\n]|\Z)))"""
    ),
    re.compile(rf"""([^\s"'{{}}\[\],:，=][^"'{{}}\[\],:\n，=]*+)["']?{_SIGN}"""),
)
# A key without a colon either.
_BARE_ALONE = rf"[A-Za-z_$][\w$.-]*+(?=\s++(?:{_QUOTE}|[{{\[]|(?:{_NUMBER}|{_WORD})\s*+[,}}]))"
BARE_ALONE = re.compile(_BARE_ALONE)
TIGHT_KEY = re.compile(
    rf"""([A-Za-z_$@][\w$.@/-]*+|-?\d{{1,20}})["']?{_SIGN}(?=\s|{_QUOTE}|[{{\[]"""
    rf"""|(?:{_NUMBER}|{_WORD})\s*+[,}}\]])"""
)
CUT_WORD = re.compile(r"""[^\s"'{}\[\],:]++\s*+\Z""")
_LONE = rf"(?:{_ANY_NUMBER}|{_WORD})"
_WORD_ITEM = (
    r"[\w$@/](?:[^\"'{}\[\],:\n]{0,200}+(?=\s*+(?:[,\]}]|\Z))"
    r"|[^\"{}\[\],\n]{0,200}+\"(?=\s*+[,\]]))"
)
_PLAIN_ITEM = (
    rf"{_LONE}(?=\s*+(?:[,\])}}]|\Z))|[\[{{(]|[a-zA-Z]{{1,8}}\Z|[-+]?[0-9]*+\.?[0-9]*+[eE]?[-+]?\Z"
)
PLAIN_ITEM = re.compile(_PLAIN_ITEM)
WORD_ITEM = re.compile(_WORD_ITEM)
# A number or literal with what may stand behind it: in an object, in an array.
_AFTER_LONE = (
    rf"{_SPACE}*+(?:[,;，、}}\])]|//|/\*|\#|<|```|…|\.\.\.|\Z)|[\[{{]|{_SPACE}++[\[{{]"
    r"|\s*?\n\s*+[A-Za-z*][^\"{}\[\]:]{0,500}\Z"
)
LONE = {
    dict: re.compile(
        rf"({_LONE})(?={_AFTER_LONE}|\s*+{_STRING}\s*+:|\s++[\w$.-]++\s*+:"
        rf"|\s++{_STRING}\s*+(?:=|/|{_VALUE_START}))"
    ),
    list: re.compile(
        rf"({_LONE})(?={_AFTER_LONE}|\s++{_QUOTE}|{_STRING}\s*+[,\]]|\s++{_LONE}\s*+(?:[,\]\s]|\Z))",
    ),
}
# In prose: a number or literal, a quote at the end of a line.
TOKENS = re.compile(rf"(?<![\w.,$/-])({_LONE})(?![\d,/:-])")
LINE_END = re.compile(r'"(?=[ \t]*+\n)')
PHRASE_END = re.compile(rf"""[,，}}\]\n"]|(?<=\s)(?://|/\*|\#)|{END.pattern}""")
TUPLE = re.compile(rf"\((?=\s*+(?:{_VALUE_START}|\(|\)\s*+[,}}\]]))")

# A key, its value and the comma behind, as they should be; and as other languages write them.
_TEXT = r"[^\"\\\x00-\x1f]*+"
_ESCAPED = rf'{_TEXT}(?:\\["\\/bfnrtu]{_TEXT})*+'
_TIGHT = rf"{_NUMBER}|true|false|null"
MEMBER = re.compile(
    rf'\s*+"({_TEXT})"\s*+:\s*+(?:(?=[{{\[])'
    rf'|"({_ESCAPED})"(?=\s*+(?:,\s*+"([^"\\]*+)"\s*+:|\}}\s*+(?:[,}}\]]|\Z)))'
    rf"|({_TIGHT})(?=\s*+(?:,(?!\d)|\}})))\s*+(,?)"
)
ELEMENT = re.compile(
    rf'\s*+(?:(?=[{{\[])|"({_ESCAPED})"'
    rf'(?=\s*+(?:,\s*+(?:["{{\[]|{_TIGHT})|\]\s*+(?:[,}}\]]|\Z)))|({_TIGHT})(?=\s*+[,\]]))\s*+(,?)'
)
COMMAS = re.compile(rf"[,;，、](?:{_SPACE}*+[,;，、])*+")
EMBEDDED = re.compile(r'"\s*+(?:\{(?=\s*+"([^"\\\n]{1,100})"\s*+:)|\[(?=\s*+(?:"|\{\s*+")))')
NEXT_KEY = re.compile(rf"\s*+{_QUOTE}?([^\s\"'“”:]*+)")
ARRAYS = re.compile(r"\[++")
DOUBLED = re.compile(rf"\{{(?:{_SPACE}*+\{{)*+")
STRAY = re.compile(rf"""[^,}}\]{{\[\n"'“‘`]{{1,200}}(?=[,}}\]])|{_QUOTE}(?=\s*+(?:[,}}\]]|\Z))""")
PROSE = re.compile(r"[A-Za-z*][^\"{}\[\]:]{0,500}(?:\Z|\{)")
# Words behind the last string of a value that is not closed.
_LAST_WORDS = r"\([^\"{}\[\]:]{0,300}\Z|[A-Za-z*][^\"{}\[\]:]{0,500}\Z"
LAST_WORDS = re.compile(_LAST_WORDS)
ELLIPSIS = re.compile(r"…|\.\.\.+")
BRACKETS = re.compile(rf"{_DOUBLE}|[{{}}\[\]]", re.DOTALL)
MORE_MEMBERS = re.compile(
    rf"""\s*+(?:,[\s,]*+|(?=["'“]))(?:["'“]([^"'”\\\n]*+)["'”]|([A-Za-z_$][\w$]*+)["']?)\s*+(?:[:=]|\s*+(?<=\s){_VALUE_START})"""
)
MORE_ITEMS = re.compile(rf"\s*+,\s*+(?:{_NUMBER}\s*+[,\]]|[{{\[]|{_DOUBLE}\s*+[,\]])", re.DOTALL)

START = re.compile(
    rf"\{{{_SPACE}*+(?:{_QUOTE}|[{{}}\]]|//|/\*|\#|[A-Za-z_$@][\w$.@/-]*+[\"']?(?:\s*+[:：=]|\s++[\"{{\[])"
    rf"|\d{{1,20}}[\"']?\s*+:"
    rf"|\Z)|\[{_SPACE}*+(?:{_QUOTE}|[{{\[\]]|-?\.?[0-9]|{_WORD}|//|/\*|\#\s|\Z"
    rf"|(?:-|t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?)\Z|\w[^\"{{}}\[\],:\n]*+(?:,\s*+(?:{_QUOTE}|[{{\[]|-?\d)|\"\s*+[,\]]))"
)
# JSON whose quotes are escaped, as if it stood in a string.
# A tuple, if the text begins with it.
ROUND = re.compile(rf"\s*+(?=\(\s*+(?:{_VALUE_START}|\)))")
ESCAPED = re.compile(
    r'[{\[]\s*+(?:\\[nrt]\s*+|[{\[]\s*+)*+\\"(?:[^"\\]*+(?:\\.[^"\\]*+)*+)', re.DOTALL
)
_SCALAR = rf"(?:{_STRING}|{_LONE})"
BRACELESS = re.compile(
    rf"""\s*+(?:```\w*\s*+)?+(?!```)(?:{_COMMENT}\s*+)?(?={_STRING}\s*+"""
    rf"""(?:(?:[:：]|=>?)\s*+\S|[{{\[])|[\w$.-]{{1,100}}"\s*+:\s*+{_VALUE_START}"""
    rf"""|[A-Za-z_]\w*+\s*+:\s*+{_SCALAR}\s*+(?:,\s*+["']?\w++["']?\s*+:|\}}))""",
    re.DOTALL,
)
LOOSE_BRACELESS = re.compile(
    rf"""\s*+(?:```\w*\s*+)?+(?!```)(?:{_COMMENT}\s*+)*+"""
    rf"""(?=(?:{_STRING}|[A-Za-z_]\w*+)\s*+(?:{_COMMENT}\s*+)*+(?:[:=][:=>]*+)?\s*+{_VALUE_START})""",
    re.DOTALL,
)
QUOTED = re.compile(rf"\s*+(?!```)({_QUOTE})")
FENCE_END = re.compile(rf"(?:\s*(?:```|{_TURN_END}))*\s*\Z")
FENCE = re.compile(r"\s*+```[\w-]*\s*+")

# The escapes in a string: valid ones, one that the end of the text cuts, and others.
ESCAPE = re.compile(
    r"""\\(?:(["\\/bfnrt])|u([0-9a-fA-F]{4})|(u[0-9a-fA-F]{0,3}\Z|\Z)|x([0-9a-fA-F]{2})|(.))""",
    re.DOTALL,
)
CONTROL = re.compile(r"[\x00-\x1f]")
# `C:\dir`, `\\host`, `.\dir`: backslashes that nobody meant as escapes.
PATH = re.compile(r"(?:[A-Za-z]:|\\\\[\w.-]+|\.{1,2})\\(?![\\\"/])")


@lru_cache(maxsize=4)
def foreign_member(quote: str) -> re.Pattern[str]:
    """A member as Python or JavaScript writes it, with single or with typographic quotes."""
    opener, closer = ("'", "'") if quote == "'" else ("[“”]", "[“”]")
    plain = r"[^'\\\x00-\x1f]*+" if quote == "'" else r"[^“”\\\x00-\x1f]*+"
    follows = (
        rf"(?=\s*+(?:,\s*+(?:\"{_TEXT}\"|{opener}{plain}{closer}|[A-Za-z_$][\w$]*+)\s*+:"
        r"|\}\s*+(?:[,}\]]|\Z)))"
    )
    return re.compile(
        rf"\s*+(?:\"({_TEXT})\"|{opener}({plain}){closer}|([A-Za-z_$][\w$]*+))\s*+:\s*+"
        rf"(?:(?=[{{\[])|\"({_TEXT})\"{follows}|{opener}({plain}){closer}{follows}"
        rf"|({_TIGHT})(?=\s*+(?:,(?!\d)|\}}))|(True|False|None)(?=\s*+[,}}]))\s*+(,?)"
    )


@lru_cache(maxsize=4)
def foreign_element(quote: str) -> re.Pattern[str]:
    """An item as Python or JavaScript writes it, with single or with typographic quotes."""
    opener, closer = ("'", "'") if quote == "'" else ("[“”]", "[“”]")
    plain = r"[^'\\\x00-\x1f]*+" if quote == "'" else r"[^“”\\\x00-\x1f]*+"
    return re.compile(
        rf"\s*+(?:{opener}({plain}){closer}"
        rf"(?=\s*+(?:,\s*+(?:{opener}|[\"{{\[]|{_TIGHT}|True|False|None)|\]\s*+(?:[,}}\]]|\Z)))"
        r"|(True|False|None)(?=\s*+[,\]]))\s*+(,?)"
    )


@lru_cache(maxsize=64)
def string_end(quote: str, kind: type) -> re.Pattern[str]:
    """A pattern that reads up to a quote that might end a string in an object or an array.

    It passes over quotes that nothing fitting follows, at the speed of the regex engine; group
    1 says whether there were any. In an object it also stops where a key seems to open, since
    then an earlier quote is missing.
    """
    closers = QUOTES[quote]
    follows = rf"\Z|//|/\*|\#|<|```|[}}\])]|[,;，、]{_SPACE}*+(?:\Z|[,;}}\])/\#…]|\.\.\.|"
    if kind is dict:
        follows += (
            rf"{_STRING}{_SPACE}*+(?:[:：=,}}/\#]|{_VALUE_START}|\Z)|{_CUT_STRING}|\w++\Z|\{{"
            rf"|[^\s\"'{{}}\[\],:，][^\"'{{}}\[\],:\n，]{{0,200}}[\"']?\s*+[:：=]|{_LOST_KEY}|{_BARE_ALONE})"
            rf"|{_STRING}\s*+[:：=/\#]|{_LOST_KEY}"
        )
        more = (
            rf"|\s*+\{{\s*+{_STRING}\s*+:|\s++(?:{_LAST_WORDS}|[\w$.-]++\s*+[:=])"
            rf"|[^{closers}\\\n]*+[{closers}]\s*+[:：]\s*+{_VALUE_START}"
        )
    else:
        follows += (
            rf"{_QUOTE}|{_PLAIN_ITEM}|{_WORD_ITEM}|[A-Za-z_$][\w$]*+\s*+:)|[:：]|[\[{{]|{_PLAIN_ITEM}"
            rf"|{_STRING}(?:{_SPACE}*+[,\]}}]|{_SPACE}++{_VALUE_START}|\Z)|{_CUT_STRING}"
        )
        more = rf"|\s++(?:{_LAST_WORDS})"
    stop = rf"(?:{_SPACE}*+(?:{follows}){more})"
    return re.compile(
        rf"[^{closers}\\]*+(?:(?:\\.|([{closers}])(?!{stop}))[^{closers}\\]*+)*+[{closers}]",
        re.DOTALL,
    )
