"""A daemon that is played, as far as commands see it: something that answers over HTTP."""

import json
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest


@pytest.fixture
def served():
    """Serves what ``answer(path, headers, body)`` gives, a status and a document; the URL."""
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(serving(answer))


@contextmanager
def serving(answer):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, document = answer(self.path, dict(self.headers), body)
            self.send_response(status)
            if status != 200:
                self.send_header("x-amzn-ErrorType", "ResourceNotFoundException")
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        do_POST = do_GET  # noqa: N815  as the server wants it

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def make_census():
    """A census as a daemon gives it; by ``name`` or ``name:version``, what differs."""

    def environment(state, number, **values):
        least = {
            "id": f"{number:08}-0000-4000-8000-000000000000",
            "state": state,
            "init_type": "on-demand",
            "provisioned": False,
            "age_s": 61.5,
            "idle_s": 3.0 if state == "idle" else None,
            "uses": number,
            "memory_bytes": 10 << 20,
        }
        return {**least, **values}

    def pool(name, states=(), **values):
        name, _, version = name.partition(":")
        counters = dict.fromkeys(("invocations", "cold", "restored", "throttled"), 0)
        return {
            "function": name,
            "version": version or "$LATEST",
            "memory_mb": 128,
            "environments": [environment(state, at) for at, state in enumerate(states)],
            **counters,
            "running": sum(state == "invoke" for state in states),
            "waiting": 0,
            "provisioned_requested": 0,
            **values,
        }

    def made(*pools, up_s=60.0, started="2026-11-21T09:30:00.000Z", reserved=None):
        functions = [pool(name, **values) for name, values in pools]
        return {
            "started": started,
            "up_s": up_s,
            "concurrency": {
                "limit": 1_000,
                "running": sum(one["running"] + one["waiting"] for one in functions),
                "unreserved": 1_000 - sum((reserved or {}).values()),
                "reserved": reserved or {},
            },
            "memory": {"charged_bytes": 300 << 20, "budget_bytes": 18 << 30},
            "spares": {"python3.12": 1},
            "functions": functions,
        }

    return made
