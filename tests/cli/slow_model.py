"""A model server whose answers come as slowly as a test wants."""

from __future__ import annotations

import http.server
import json
import threading

HOLD = object()


def said(*words: object, thoughts: str = "") -> list[object]:
    """An answer that says something, in these pieces of its argument."""
    return [_start("send_message", thoughts) + '"message": "', *words, '"}}']


def called(name: str, arguments: dict[str, object], thoughts: str = "") -> list[object]:
    """An answer that calls a function."""
    return [_start(name, thoughts) + json.dumps(arguments).removeprefix("{") + "}"]


def _start(name: str, thoughts: str) -> str:
    return f'{{"function": "{name}", "params": {{"inner_thoughts": {json.dumps(thoughts)}, '


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(404)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        model = self.server
        if self.path == "/tokenize":
            self._json({"tokens": list(range(len(body["content"].split())))})
            return
        if self.path != "/completion":
            self.send_error(404)
            return
        model.prompts.append(body["prompt"])
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
                        # A server finds out that nobody listens any more when it writes.
                        self._event({"content": "", "stop": False})
                    model.go_on.clear()
                else:
                    self._event({"content": piece, "stop": False})
            timings = {"cache_n": 900, "prompt_n": 100, "predicted_n": 40}
            self._event(
                {"content": "", "stop": True, "stop_type": "eos", "tokens_evaluated": 1000,
                 "tokens_predicted": 40, "timings": timings}
            )  # fmt: skip
        except OSError:
            model.left.set()

    def _json(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _event(self, value):
        self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")
        self.wfile.flush()

    def log_message(self, *arguments):
        pass


class SlowModel(http.server.ThreadingHTTPServer):
    """`answers` are given in their order; an HTTP status in place of one is an error.

    At a HOLD the answer waits until `go_on` is set; `holding` says that it does, `left` that
    somebody has left in the middle. `prompts` are what it was asked.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[object] = []
        self.prompts: list[str] = []
        self.go_on, self.left, self.holding = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def settings(self) -> str:
        """The settings of a model that is this one."""
        return (
            '[models.slow]\nbackend = "llamacpp"\ncontext = 16384\nretries = 0\n'
            'wrapper = "chatml"\noptions = {inner_thoughts = "inside"}\n'
            f'url = "http://127.0.0.1:{self.server_port}"\n'
        )

    def close(self) -> None:
        self.go_on.set()
        self.shutdown()
        self.server_close()
        self._thread.join()
