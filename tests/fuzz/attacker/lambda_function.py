"""A function that turns on the API it is served by, from within, for as long as it is told to.

What it says is random, and the same for the same seed: bytes, requests that are nearly right, and
some that are right but not its to make.
"""

import os
import random
import socket
import struct
import threading
import time

CROWD, HELD_MAX = 8, 6
PATHS = [
    b"/2018-06-01/runtime/invocation/next",
    b"/2018-06-01/runtime/invocation/%b/response",
    b"/2018-06-01/runtime/invocation/%b/error",
    b"/2018-06-01/runtime/invocation/none/response",
    b"/2018-06-01/runtime/init/error",
    b"/2018-06-01/runtime/restore/next",
    b"/2020-01-01/extension/register",
    b"/2020-01-01/extension/event/next",
    b"/2020-01-01/extension/exit/error",
    b"/2022-07-01/telemetry",
    b"/2020-08-15/logs",
    b"/2021-04-23/credentials",
    b"/",
]
HEADERS = [
    b"Lambda-Runtime-Function-Response-Mode: streaming",
    b"Lambda-Runtime-Function-Error-Type: \xff\xfe",
    b"Lambda-Extension-Name: " + b"\xc3\x28" * 100,
    b"Lambda-Extension-Identifier: 00000000-0000-4000-8000-000000000000",
    b"Content-Type: a/b" + b";" * 50_000,
    b"Content-Type: application/vnd.aws.lambda.error.cause+json",
    b"Authorization: \xff",
    b"Expect: 100-continue",
    b"Connection: close",
    b"X: " + b"x" * 500_000,
]
BODIES = [b"", b"{}", b"[" * 100_000, b"\xff" * 1_000, b"x" * 3_000_000, b"9" * 10_000]


class Attack:
    """Of one thread."""

    def __init__(self, seed, request_id, until):
        self.dice, self.request_id, self.until = random.Random(seed), request_id, until
        host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
        self.address = host, int(port)
        self.said, self.held = 0, []

    def run(self):
        while time.monotonic() < self.until:
            try:
                self.one()
            except OSError:
                continue  # Cut off: so be it.
        for held in self.held:
            held.close()

    def one(self):
        connection = socket.create_connection(self.address, 0.5)
        self.held.append(connection)
        for _ in range(self.dice.choice([1, 1, 3])):
            connection.sendall(self.dice.choice([self.noise, self.request, self.spoilt])())
            self.said += 1
        if self.dice.random() < 0.5:
            connection.recv(65_536)
        if self.dice.random() < 0.3:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self.dice.random() < 0.7 or len(self.held) > HELD_MAX:
            self.held.pop(self.dice.randrange(len(self.held))).close()

    def noise(self):
        return self.dice.randbytes(self.dice.choice([1, 100, 10_000]))

    def request(self):
        path = self.dice.choice(PATHS).replace(b"%b", self.request_id)
        method = self.dice.choice([b"GET", b"POST", b"PUT", b"HEAD"])
        headers = self.dice.sample(HEADERS, self.dice.randrange(3))
        body = self.dice.choice(BODIES)
        if self.dice.random() < 0.5:
            headers.append(b"Content-Length: %d" % len(body))
        else:
            headers.append(b"Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        return b"\r\n".join([b"%b %b HTTP/1.1" % (method, path), b"Host: x", *headers, b"", body])

    def spoilt(self):
        said = self.request()
        at = self.dice.randrange(min(len(said), 2_000))
        return said[:at] + self.dice.randbytes(2) + said[at + self.dice.randrange(3) :]


def handler(event, context):
    until = time.monotonic() + event["seconds"]
    # Only now and then is its own id among what it says: that ends it.
    request_id = context.aws_request_id.encode() if event["own_id"] else b"another"
    attacks = [Attack(f"{event['seed']}-{n}", request_id, until) for n in range(CROWD)]
    threads = [threading.Thread(target=attack.run) for attack in attacks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(attack.said for attack in attacks)
