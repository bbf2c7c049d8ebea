"""A model server whose answers come as slowly as a test wants."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterable

HOLD = object()


def said(*words: str, thoughts: str = "") -> list[object]:
    """An answer that says something, in these pieces of its argument."""
    return called("send_message", ['{"message": "', *words, '"}'], thoughts=thoughts)


def called(name: str, arguments: Iterable[object], thoughts: str = "") -> list[object]:
    """An answer that calls a function, its arguments written in these pieces."""
    first = [{"content": thoughts}] if thoughts else []
    call = {"index": 0, "id": "call_1", "function": {"name": name, "arguments": ""}}
    pieces = (
        piece if piece is HOLD else {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
        for piece in arguments
    )
    return [*first, {"tool_calls": [call]}, *pieces]


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(404)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        model = self.server
        if not body.get("stream"):
            self.send_error(404)
            return
        model.requests.append(body)
        answer = model.answers.pop(0) if model.answers else said("Nothing more.")
        if isinstance(answer, int):
            self.send_error(answer, "It is broken today.")
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        try:
            for piece in answer:
                if piece is HOLD:
                    model.holding.set()
                    while not model.go_on.wait(0.05):
                        # Writing a comment is how a server finds out that nobody listens.
                        self._event(b": waiting\n\n")
                    model.go_on.clear()
                    continue
                self._event(self._chunk({"delta": piece, "finish_reason": None}))
            self._event(self._chunk({"delta": {}, "finish_reason": "tool_calls"}))
            usage = {
                "prompt_tokens": 1000, "completion_tokens": 40,
                "prompt_tokens_details": {"cached_tokens": 900},
            }  # fmt: skip
            self._event(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
            self._event(b"data: [DONE]\n\n")
        except OSError:
            model.left.set()

    def _chunk(self, choice):
        return b"data: " + json.dumps({"choices": [{"index": 0, **choice}]}).encode() + b"\n\n"

    def _event(self, data):
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *arguments):
        pass


class SlowModel(http.server.ThreadingHTTPServer):
    """`answers` are given in their order; an HTTP status in place of one is an error.

    At a HOLD the answer waits until `go_on` is set; `holding` says that it does, `left` that
    somebody has left in the middle. `requests` are what it was asked.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[object] = []
        self.requests: list[dict[str, object]] = []
        self.holding, self.go_on, self.left = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def settings(self) -> str:
        """The settings of a model that is this one."""
        return (
            '[models.slow]\nbackend = "openai-chat"\ncontext = 16384\nretries = 0\n'
            f'url = "http://127.0.0.1:{self.server_port}/v1"\n'
        )

    def close(self) -> None:
        self.go_on.set()
        self.shutdown()
        self.server_close()
        self._thread.join()
