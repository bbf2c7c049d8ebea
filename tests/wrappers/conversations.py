"""The fixed conversations of the golden prompts: name → (request, wrapper options)."""

from __future__ import annotations

from typing import Any

from llmgate.types import Message, Request, Tool, ToolCall, ToolChoice

LOOKUP = Tool(
    "lookup_order",
    "Find an order.",
    {
        "type": "object",
        "properties": {
            "order_id": {"type": "string", "description": "Order number."},
            "request_heartbeat": {"type": "boolean", "description": "Run again afterwards."},
        },
        "required": ["order_id", "request_heartbeat"],
    },
)
SEND = Tool(
    "send_message",
    "Send a message to the person.",
    {
        "type": "object",
        "properties": {"message": {"type": "string", "description": "What to say."}},
        "required": ["message"],
    },
)
SHIP = Tool(
    "ship",
    "Ship a parcel.\nOnly on weekdays.",
    {
        "type": "object",
        "properties": {
            "to": {
                "type": "object",
                "description": "Where it goes.",
                "properties": {
                    "street": {"type": "string"},
                    "country": {"enum": ["AT", "CH", "DE"], "description": "Country code."},
                },
                "required": ["street", "country"],
            },
            "items": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"sku": {"type": "string"}, "count": {"type": "integer"}},
                    "required": ["sku"],
                },
            },
            "tags": {"type": "array", "items": {"type": "string"}},
            "speed": {"type": ["string", "null"], "default": "slow"},
            "weight": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "date": {"$ref": "#/$defs/day"},
        },
        "required": ["to"],
        "$defs": {"day": {"type": "string", "format": "date", "description": "When."}},
    },
)

RETURN = '{"status": "OK", "message": "shipped", "time": "2023-12-01 09:00:02 AM"}'
HEARTBEAT = '{"type": "heartbeat", "reason": "again", "time": "2023-12-01 09:00:03 AM"}'
ASKED = (
    '{"type": "user_message", "message": "Where is order 77?", "time": "2023-12-01 09:00:00 AM"}'
)
SYSTEM = Message("system", "You are Iris, a shop helper.")
USER = Message("user", "Where is order 77?")
CALL = ToolCall("call_1", "lookup_order", '{"order_id": "77", "request_heartbeat": true}')
CALLED = Message("assistant", "I should look it up.", (CALL,))
RETURNED = Message("tool", RETURN, tool_call_id="call_1", name="lookup_order")
AGENT = (SYSTEM, Message("user", ASKED), CALLED, RETURNED, Message("user", HEARTBEAT))
FORCED = ToolChoice("required")


def _request(*messages: Message, **fields: Any) -> Request:
    return Request(model="m", messages=messages, **fields)


CONVERSATIONS: dict[str, tuple[Request, dict[str, Any]]] = {
    "hello": (_request(Message("user", "Hello!")), {}),
    "several-turns": (
        _request(SYSTEM, USER, Message("assistant", "On its way."), Message("user", "Thanks.")),
        {},
    ),
    "tools": (_request(SYSTEM, USER, tools=(LOOKUP, SEND)), {}),
    "tools-without-system": (_request(USER, tools=(LOOKUP,)), {}),
    "agent": (_request(*AGENT, tools=(LOOKUP,)), {}),
    "agent-thoughts-inside": (
        _request(*AGENT, tools=(LOOKUP,), tool_choice=FORCED),
        {"inner_thoughts": "inside", "opening_brace": "always"},
    ),
    "agent-thoughts-beside": (
        _request(*AGENT, tools=(LOOKUP,), tool_choice=FORCED),
        {"inner_thoughts": "beside", "opening_brace": "always"},
    ),
    "named-function": (
        _request(
            SYSTEM, USER, tools=(LOOKUP, SEND), tool_choice=ToolChoice("required", "send_message")
        ),
        {"opening_brace": "always"},
    ),
    "call-without-words": (
        _request(SYSTEM, USER, Message("assistant", None, (CALL,)), RETURNED, tools=(LOOKUP,)),
        {"indent": 0},
    ),
    "parallel-calls": (
        _request(
            USER,
            Message(
                "assistant", None, (CALL, ToolCall("call_2", "send_message", '{"message":"…"}'))
            ),
            RETURNED,
            Message("tool", "sent", tool_call_id="call_2"),
            tools=(LOOKUP, SEND),
            parallel=True,
        ),
        {},
    ),
    "nested-parameters": (_request(USER, tools=(SHIP,)), {}),
    "functions-as-json": (_request(USER, tools=(LOOKUP, SHIP)), {"function_list": "json"}),
    "names-and-unicode": (
        _request(
            Message("system", "Antworte kurz. 返事は短く。"),
            Message("user", 'Grüße aus Köln – 你好 \\n "q"', name="Zoë"),
            Message(
                "assistant", None, (ToolCall("c", "send_message", '{"message": "é\\u00e9 你好"}'),)
            ),
            Message("tool", '{"status": "OK", "message": "Здравствуйте"}', tool_call_id="c"),
            tools=(SEND,),
        ),
        {},
    ),
    "json-verbatim": (_request(*AGENT), {"json_content": "verbatim"}),
    "json-simplified": (_request(*AGENT), {"json_content": "simplified"}),
    "json-indented": (_request(*AGENT), {"json_content": "indented"}),
    "system-in-the-middle": (
        _request(SYSTEM, USER, Message("system", "Be brief."), Message("user", "And order 78?")),
        {},
    ),
    "schema": (
        _request(
            USER,
            schema={
                "type": "object",
                "properties": {"id": {"type": "integer"}},
                "required": ["id"],
            },
        ),
        {},
    ),
}
