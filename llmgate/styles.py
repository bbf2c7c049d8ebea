"""The ways in which models write tool calls: one row each, used to write, to hold and to read.

A style is the text around a call's name and its arguments. In these texts, the *marks*, white
space is elastic where it is read, and `{n}` stands for a number, `{id}` for a call's id,
`{string}` for `true` or `false` (whether a parameter is a string) and `{type}` for the JSON
type of a parameter.

    open  begin NAME middle ARGUMENTS end  between  begin NAME middle ARGUMENTS end  close

Sources: the chat templates of the models named in the rows.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from llmgate.errors import ConfigError, suggestion

Head = Literal["object", "keyed", "named"]
Arguments = Literal["json", "parameters", "python", "gemma"]
Pair = tuple[str, str]


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """One way of writing calls.

    head: where the name stands: in a JSON object beside the arguments (`object`, under
        `function_key` and `arguments_key`), as its only key (`keyed`), or before the arguments
        (`named`, with `middle` between them).
    arguments: a JSON object, one marked text per `parameter` (strings raw, all else as JSON),
        Python keyword arguments, or Gemma's `key:value` pairs in `<|"|>`.
    open, close: around all calls of an answer; begin, end: around each; between: two of them.
    opens, begins, middles: other spellings that are read, never written. `ends`, where there
        are any, are the ends that go with `begins`.
    parameter: the marks before its key, between key and value, and after the value. A line
        break at the end of the second and at the start of the third is not part of the value.
    cdata: whether strings may stand in `<![CDATA[…]]>`.
    first: the number of an answer's first call, where `{n}` is written.
    frames: marks around words that are no content themselves.
    reasoning: marks around thoughts, for styles that have their own.
    skip: marks that mean nothing to a client, dropped where they stand between other parts.
    signs: texts in a chat template that tell the style, if all of them are there.
    """

    name: str
    description: str
    head: Head = "object"
    arguments: Arguments = "json"
    open: str = ""
    close: str = ""
    begin: str = ""
    end: str = ""
    between: str = "\n"
    middle: str = ""
    opens: tuple[str, ...] = ()
    begins: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    middles: tuple[str, ...] = ()
    function_key: str = "name"
    arguments_key: str = "arguments"
    parameter: tuple[str, str, str] = ("", "", "")
    cdata: bool = False
    first: int = 0
    frames: tuple[Pair, ...] = ()
    reasoning: tuple[Pair, ...] = ()
    skip: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()

    @property
    def bare(self) -> bool:
        """Whether a call is a JSON object with nothing around it."""
        return self.head == "object" and not (self.open or self.begin)

    @property
    def opener(self) -> str:
        """The mark that the calls of an answer begin with, empty for bare styles."""
        return self.open or self.begin


# What surrounds a model's thoughts at the beginning of an answer, whatever its calls look like.
REASONING: tuple[Pair, ...] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("<think:opensource>", "</think:opensource>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
    ("<|think|>", "<|end|>"),
    ("Here are my reasoning steps:\n", "[BEGIN FINAL RESPONSE]"),
)

_ROWS = (
    Style(
        name="json",
        description="a bare JSON object; its keys are the wrapper's",
        function_key="function",
        arguments_key="params",
    ),
    Style(
        name="llama3",
        description="a bare JSON object with name and parameters: Llama 3.1, 3.2, 3.3",
        opens=("<|python_tag|>",),
        arguments_key="parameters",
        signs=("<|python_tag|>",),
    ),
    Style(
        name="hermes",
        description="JSON in <tool_call>: Hermes, Qwen 2.5 and 3, Granite 4, SmolLM3, MiMo",
        begin="<tool_call>\n",
        end="\n</tool_call>",
    ),
    Style(
        name="mistral",
        description="a JSON list behind [TOOL_CALLS]: Mistral up to Nemo and Small 3.1",
        open="[TOOL_CALLS][",
        close="]",
        between=", ",
        opens=("[TOOL_CALLS] [",),
    ),
    Style(
        name="mistral-named",
        description="[TOOL_CALLS]name[ARGS]JSON: Mistral Small 3.2, Devstral, Ministral 3",
        head="named",
        begin="[TOOL_CALLS]",
        middle="[ARGS]",
        middles=("[CALL_ID]{id}[ARGS]",),
        between="",
    ),
    Style(
        name="functionary-v3.1",
        description="<function=name>JSON</function>: Functionary 3.1",
        skip=("<|eom_id|>",),
        head="named",
        begin="<function=",
        middle=">",
        end="</function>",
        between="",
    ),
    Style(
        name="functionary-v3.2",
        description=">>>name and JSON on the next line: Functionary 3.2",
        head="named",
        begin=">>>",
        middle="\n",
        between="",
        frames=((">>>all\n", ""),),
    ),
    Style(
        name="pythonic",
        description="a list of Python calls: Llama 4",
        head="named",
        arguments="python",
        open="[",
        middle="(",
        end=")",
        close="]",
        between=", ",
        opens=("<|python_start|>[",),
        skip=("<|python_end|>",),
    ),
    Style(
        name="lfm2",
        description="Python calls between <|tool_call_start|> and <|tool_call_end|>: LFM2",
        head="named",
        arguments="python",
        open="<|tool_call_start|>[",
        middle="(",
        end=")",
        close="]<|tool_call_end|>",
        between=", ",
        signs=("<|tool_list_start|>",),
    ),
    Style(
        name="qwen-coder",
        description="<function=name> with <parameter=key>: Qwen3-Coder, Qwen 3.5, Nemotron 3",
        head="named",
        arguments="parameters",
        begin="<tool_call>\n<function=",
        middle=">\n",
        parameter=("<parameter=", ">\n", "\n</parameter>\n"),
        end="</function>\n</tool_call>",
        begins=("<function=",),
        ends=("</function>",),
        skip=("</tool_call>",),
    ),
    Style(
        name="seed",
        description="<seed:tool_call> with <parameter=key>: Seed-OSS",
        head="named",
        arguments="parameters",
        begin="<seed:tool_call>\n<function=",
        middle=">\n",
        parameter=("<parameter=", ">", "</parameter>\n"),
        end="</function>\n</seed:tool_call>",
    ),
    Style(
        name="glm",
        description="<tool_call>name with <arg_key> and <arg_value>: GLM 4.5 to 4.7, Ling, Laguna",
        head="named",
        arguments="parameters",
        begin="<tool_call>",
        middle="\n",
        parameter=("<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n"),
        end="</tool_call>",
    ),
    Style(
        name="hunyuan",
        description="<tool_call:opensource>name with <arg_key:opensource>: Hunyuan 3",
        head="named",
        arguments="parameters",
        open="<tool_calls:opensource>\n",
        begin="<tool_call:opensource>",
        middle="<tool_sep:opensource>\n",
        parameter=(
            "<arg_key:opensource>",
            "</arg_key:opensource>\n<arg_value:opensource>",
            "</arg_value:opensource>\n",
        ),
        end="</tool_call:opensource>",
        close="\n</tool_calls:opensource>",
    ),
    Style(
        name="minimax",
        description="<invoke name=…> with <parameter name=…>: MiniMax M2",
        head="named",
        arguments="parameters",
        open="<minimax:tool_call>\n",
        begin='<invoke name="',
        middle='">\n',
        parameter=('<parameter name="', '">', "</parameter>\n"),
        end="</invoke>",
        close="\n</minimax:tool_call>",
    ),
    Style(
        name="atem",
        description="<atem:invoke name=…> with <atem:parameter name=…>: Muse",
        head="named",
        arguments="parameters",
        open="<atem:function_calls>\n",
        begin='<atem:invoke name="',
        middle='">\n',
        parameter=('<atem:parameter name="', '">', "</atem:parameter>\n"),
        end="</atem:invoke>",
        close="\n</atem:function_calls>",
        frames=((" to=user<|message|>", ""),),
        skip=(" to={id}<|message|>", "<|start|>assistant", "<|eom|>"),
    ),
    Style(
        name="deepseek-v3.2",
        description="<｜DSML｜function_calls> with typed parameters: DeepSeek V3.2",
        head="named",
        arguments="parameters",
        open="<｜DSML｜function_calls>\n",
        begin='<｜DSML｜invoke name="',
        middle='">\n',
        parameter=(
            '<｜DSML｜parameter name="',
            '" string="{string}">',
            "</｜DSML｜parameter>\n",
        ),
        end="</｜DSML｜invoke>",
        close="\n</｜DSML｜function_calls>",
    ),
    Style(
        name="deepseek-v4",
        description="<｜DSML｜tool_calls> with typed parameters: DeepSeek V4",
        head="named",
        arguments="parameters",
        open="<｜DSML｜tool_calls>\n",
        begin='<｜DSML｜invoke name="',
        middle='">\n',
        parameter=(
            '<｜DSML｜parameter name="',
            '" string="{string}">',
            "</｜DSML｜parameter>\n",
        ),
        end="</｜DSML｜invoke>",
        close="\n</｜DSML｜tool_calls>",
    ),
    Style(
        name="kimi-k3",
        description="<|open|>call tool=…<|sep|> with typed arguments: Kimi K3",
        head="named",
        arguments="parameters",
        open="<|open|>tools<|sep|>",
        begin='<|open|>call tool="',
        first=1,
        middle='" index="{n}"<|sep|>',
        parameter=(
            '<|open|>argument key="',
            '" type="{type}"<|sep|>',
            "<|close|>argument<|sep|>",
        ),
        end="<|close|>call<|sep|>",
        close="<|close|>tools<|sep|>",
        between="",
        frames=(("<|open|>response<|sep|>", "<|close|>response<|sep|>"),),
        skip=("<|close|>message<|sep|>", "<|end_of_msg|>"),
    ),
    Style(
        name="minicpm",
        description="<function name=…> with <param name=…>: MiniCPM 5",
        head="named",
        arguments="parameters",
        begin='<function name="',
        middle='">',
        parameter=('<param name="', '">', "</param>"),
        cdata=True,
        end="</function>",
    ),
    Style(
        name="deepseek-v3",
        description="<｜tool▁calls▁begin｜> with a fenced JSON block: DeepSeek V3, R1",
        head="named",
        open="<｜tool▁calls▁begin｜>",
        begin="<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
        middle="\n```json\n",
        end="\n```<｜tool▁call▁end｜>",
        close="<｜tool▁calls▁end｜>",
        opens=("<｜tool_calls_begin｜>", "<｜tool calls begin｜>"),
    ),
    Style(
        name="deepseek-v3.1",
        description="<｜tool▁call▁begin｜>name<｜tool▁sep｜>JSON: DeepSeek V3.1",
        head="named",
        open="<｜tool▁calls▁begin｜>",
        begin="<｜tool▁call▁begin｜>",
        middle="<｜tool▁sep｜>",
        end="<｜tool▁call▁end｜>",
        close="<｜tool▁calls▁end｜>",
        between="",
    ),
    Style(
        name="kimi-k2",
        description="<|tool_call_begin|>functions.name:0 and JSON: Kimi K2",
        head="named",
        open="<|tool_calls_section_begin|>",
        begin="<|tool_call_begin|>functions.",
        middle=":{n}<|tool_call_argument_begin|>",
        end="<|tool_call_end|>",
        close="<|tool_calls_section_end|>",
        between="",
        begins=("<|tool_call_begin|>",),
        middles=("<|tool_call_argument_begin|>",),
    ),
    Style(
        name="solar",
        description="<|tool_call:begin|>id<|tool_call:name|>name<|tool_call:args|>JSON: Solar Open",
        head="named",
        open="<|tool_calls|>",
        begin="<|tool_call:begin|>{id}<|tool_call:name|>",
        middle="<|tool_call:args|>",
        end="<|tool_call:end|>",
        close="<|calls|>",
        between="",
        frames=(("<|content|>", ""),),
        skip=("<|begin|>assistant", "<|end|>"),
    ),
    Style(
        name="harmony",
        description="channels of the harmony format, calls in commentary: gpt-oss",
        head="named",
        begin="<|channel|>commentary to=functions.",
        middle=" <|constrain|>json<|message|>",
        end="<|call|>",
        between="<|start|>assistant",
        begins=(
            " to=functions.",
            "<|start|>assistant to=functions.",
            "<|channel|>analysis to=functions.",
            "<|channel|>commentary to=",
        ),
        middles=("<|message|>", "<|channel|>commentary json<|message|>",
                 "<|channel|>commentary <|constrain|>json<|message|>",
                 "<|channel|>analysis <|constrain|>json<|message|>", " json<|message|>"),
        frames=(
            ("<|channel|>final<|message|>", ""),
            ("<|channel|>commentary<|message|>", "<|end|>"),
        ),
        reasoning=(("<|channel|>analysis<|message|>", "<|end|>"),),
        skip=("<|start|>assistant", "<|end|>", "<|return|>", "<|call|>"),
    ),
    Style(
        name="command-r",
        description="Action: and a fenced JSON list: Command R and R+",
        open="Action:```json\n[",
        close="]```",
        between=", ",
        function_key="tool_name",
        arguments_key="parameters",
        opens=("Action: ```json\n[",),
        signs=("Action:", "tool_name"),
    ),
    Style(
        name="command-r7b",
        description="a JSON list in <|START_ACTION|>: Command R7B, Command A",
        open="<|START_ACTION|>[\n    ",
        close="\n]<|END_ACTION|>",
        between=",\n    ",
        function_key="tool_name",
        arguments_key="parameters",
        frames=(
            ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
            ("<|START_TEXT|>", "<|END_TEXT|>"),
        ),
    ),
    Style(
        name="firefunction",
        description="a JSON list behind functools: FireFunction 2",
        open="functools[",
        close="]",
        between=", ",
        signs=("functools[",),
    ),
    Style(
        name="apriel",
        description="a JSON list in <tool_calls>: Apriel",
        open="<tool_calls>[",
        close="]</tool_calls>",
        between=", ",
    ),
    Style(
        name="minimax-m1",
        description="JSON lines in <tool_calls>: MiniMax M1",
        open="<tool_calls>\n",
        close="\n</tool_calls>",
    ),
    Style(
        name="nemotron",
        description="a JSON list in <TOOLCALL>: Nemotron Nano 2",
        open="<TOOLCALL>[",
        close="]</TOOLCALL>",
        between=", ",
    ),
    Style(
        name="granite",
        description="a JSON list behind <|tool_call|>: Granite 3, Phi-4-mini",
        open="<|tool_call|>[",
        close="]",
        between=", ",
        opens=("<tool_call>[",),
        skip=("<|/tool_call|>",),
        signs=("<|tool_call|>",),
    ),
    Style(
        name="apertus",
        description="a JSON list of {name: arguments} in <|tools_prefix|>: Apertus",
        head="keyed",
        open="<|tools_prefix|>[",
        close="]<|tools_suffix|>",
        between=", ",
    ),
    Style(
        name="gigachat",
        description="JSON behind <|function_call|>: GigaChat 3",
        begin="<|function_call|>",
        begins=("<|message_sep|>\n\nfunction call<|role_sep|>\n",),
    ),
    Style(
        name="gemma",
        description="call:name{key:value} in <|tool_call>: Gemma 4",
        head="named",
        arguments="gemma",
        begin="<|tool_call>call:",
        middle="{",
        end="}<tool_call|>",
        between="",
        skip=("<|tool_response>",),
    ),
)  # fmt: skip

STYLES: dict[str, Style] = {style.name: style for style in _ROWS}


def style(name: str) -> Style:
    """The style of that name. Raises `ConfigError` with the closest one."""
    found = STYLES.get(name)
    if found is None:
        raise ConfigError(f"there is no call style {name!r}.", hint=suggestion(name, STYLES))
    return found
