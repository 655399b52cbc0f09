"""Tells when it was imported and when it was called, on the clock that the whole host has.

What it imports is in ``imported.py`` beside it, a step of the ladder: see ``goals/packages.py``.
It is run by lambdad and, as the reference, by an interpreter that is executed for it.
"""

import time

IMPORTED_NS = time.monotonic_ns()

import imported  # type: ignore[import-not-found] # noqa: E402, F401  it is what is timed

PAUSE_S = 0.06


def lambda_handler(event: dict[str, int | str], _context: object) -> dict[str, float]:
    """The two moments; and what else the event asks for."""
    called_ns = time.monotonic_ns()
    if "until_ns" in event:
        time.sleep(max(0, int(event["until_ns"]) - called_ns) / 1e9)
    times = {"imported_ns": float(IMPORTED_NS), "called_ns": float(called_ns)}
    return {**times, **ANSWERS[str(event["ask"])]()} if "ask" in event else times


def fork() -> dict[str, float]:
    """What a fork of this process has to copy the page tables of."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123  nothing else imports
        fields = dict(line.split(":", 1) for line in status)
    with open("/proc/self/maps", encoding="utf-8") as maps:  # noqa: PTH123
        areas = sum(1 for _ in maps)
    return {"anonymous_mb": int(fields["RssAnon"].split()[0]) / 1024, "areas": areas}


def exchange() -> dict[str, float]:
    """Microseconds of a connection to the Runtime API, and of one request and its answer.

    The least that a client can do: a socket, one send, one receive.
    """
    import os  # noqa: PLC0415  no start is to pay for it
    import socket  # noqa: PLC0415

    host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
    time.sleep(PAUSE_S)  # As in a cold start: nobody was awake.
    since_ns = time.monotonic_ns()
    with socket.create_connection((host, int(port))) as connection:
        connected_ns = time.monotonic_ns()
        connection.sendall(b"GET /2018-06-01/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv(65_536)
        answered_ns = time.monotonic_ns()
    return {
        "connect_us": (connected_ns - since_ns) / 1e3,
        "exchange_us": (answered_ns - connected_ns) / 1e3,
    }


ANSWERS = {"fork": fork, "exchange": exchange}
