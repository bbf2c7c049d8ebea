from __future__ import annotations

import http.server
import threading
import time

import pytest


class Endless(http.server.BaseHTTPRequestHandler):
    """A llama-server whose answers never end."""

    def do_GET(self):
        self.send_error(404)

    def do_POST(self):
        if self.path != "/completion":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b'data: {"content": "word ", "stop": false}\n\n')
                time.sleep(0.05)
        except OSError:
            self.server.left.set()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def endless():
    """A running server of that kind; its `left` is set when a client leaves it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    server.left = threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
