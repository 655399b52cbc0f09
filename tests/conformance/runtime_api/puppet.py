#!/usr/bin/python3 -ISB
"""A fake runtime or extension: does as a test tells it, and tells what came of it.

Test and puppet talk in lines of JSON, in which bytes are Latin-1 text, over the socket that the
test has put beside the function's code. Orders of one lane are carried out one after the other:
those of ``main`` by the main thread, those of another lane, which may be a connection to the
Runtime API, by a thread of its own. It ends when the test lets go of it. It imports nothing of
the project, and is no test.
"""

import json
import os
import queue
import signal
import socket
import sys
import threading
import time
from pathlib import Path

STAGE = "/var/task/stage"


class Puppet:
    """One process of the function's environment, on the test's strings."""

    def __init__(self):
        self.wire = socket.socket(socket.AF_UNIX)
        self.wire.connect(STAGE)
        self.lock = threading.Lock()
        self.lanes = {"main": queue.Queue()}
        self.connections = {}
        self.kept = []

    def tell(self, **message):
        line = json.dumps(message).encode() + b"\n"
        with self.lock:
            self.wire.sendall(line)

    def play(self):
        name = Path(sys.argv[0]).name
        self.tell(event="hello", name=name, pid=os.getpid(), at=time.monotonic())
        start(self.listen_to_the_test)
        self.carry_out("main")

    def listen_to_the_test(self):
        with self.wire.makefile("rb") as orders:
            for line in orders:
                order = json.loads(line)
                lane = order["lane"]
                if lane not in self.lanes:
                    self.lanes[lane] = queue.Queue()
                    start(self.carry_out, lane)
                self.lanes[lane].put(order)
        os._exit(0)

    def carry_out(self, lane):
        while True:
            order = self.lanes[lane].get()
            try:
                value = getattr(self, "do_" + order["do"])(lane, **order["with"])
            except OSError as error:
                self.tell(id=order["id"], error=repr(error))
            else:
                self.tell(id=order["id"], value=value)

    # --- as a client of the in-sandbox APIs -------------------------------------------------

    def do_open(self, lane):
        if lane not in self.connections:
            host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
            connection = socket.create_connection((host, int(port)))
            self.connections[lane] = connection, connection.makefile("rb")

    def do_send(self, lane, data, fill):
        """Send bytes, and then as many more."""
        try:
            self.connections[lane][0].sendall(data.encode("latin-1") + b"x" * fill)
        except ConnectionError:
            return "cut off"  # There may be an answer all the same.
        return "sent"

    def do_receive(self, lane):
        """One answer: 0 is the status of none."""
        try:
            first, headers, body = read_message(self.connections[lane][1])
        except ConnectionError:
            first, headers, body = "", [], ""
        status = int(first.split()[1]) if first else 0
        times = {"at": time.monotonic(), "wall": time.clock_gettime(time.CLOCK_REALTIME)}
        return {"status": status, "headers": headers, "body": body, **times}

    def do_close(self, lane):
        connection, stream = self.connections.pop(lane)
        stream.close()
        connection.close()

    # --- as a server of telemetry --------------------------------------------------------------

    def do_listen(self, _, port, protocol):
        """Tell of what comes: of each HTTP request, or of each line."""
        listener = socket.create_server(("0.0.0.0", port))
        start(self.accept, listener, port, self.requests if protocol == "HTTP" else self.lines)

    def accept(self, listener, port, serve):
        while True:
            connection, _ = listener.accept()
            start(serve, connection, port)

    def requests(self, connection, port):
        stream = connection.makefile("rb")
        while True:
            first, headers, body = read_message(stream)
            if not first:
                return
            self.tell(event="received", port=port, first=first, headers=headers, body=body)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def lines(self, connection, port):
        for line in connection.makefile("rb"):
            body = line.decode("latin-1")
            self.tell(event="received", port=port, first="", headers=[], body=body)

    # --- as a process ------------------------------------------------------------------------

    def do_facts(self, _):
        """What it was given, and where; Python changes its own copy of the variables."""
        given = Path("/proc/self/environ").read_text().rstrip("\0").split("\0")
        environ = dict(variable.split("=", 1) for variable in given)
        return {"environ": environ, "cwd": str(Path.cwd()), "stdin": sys.stdin.read()}

    def do_write(self, _, path, text):
        Path(path).write_text(text)

    def do_read(self, _, path):
        return Path(path).read_text()

    def do_print(self, _, text):
        sys.stdout.write(text)
        sys.stdout.flush()

    def do_hoard(self, _, mb):
        self.kept.append(b"\1" * (mb << 20))

    def do_catch(self, _, number, ends):
        """Tell of a signal, and end or go on."""

        def caught(*_):
            self.tell(event="signal", number=number, at=time.monotonic())
            if ends:
                os._exit(0)

        signal.signal(number, caught)

    def do_exit(self, _, status):
        os._exit(status)

    def do_die(self, _, number):
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def read_message(stream):
    """First line, headers and body of an HTTP message; empty ones at the end."""
    first = stream.readline().decode("latin-1").strip()
    headers, length = [], 0
    while (line := stream.readline().decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers.append([name, value.strip()])
        if name.lower() == "content-length":
            length = int(value)
    return first, headers, stream.read(length).decode("latin-1")


def start(function, *arguments):
    """Run it in a thread that takes no signals: what they call is run by the main thread, which
    would not wake up for one that another thread was given.
    """

    def run():
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        function(*arguments)

    threading.Thread(target=run, daemon=True).start()


if __name__ == "__main__":
    Puppet().play()
