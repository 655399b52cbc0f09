"""Where puppets play: a function whose runtime and extensions do as the test tells them.

Nothing of lambdad is imported here; the invoker is AWS's client.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import queue
import secrets
import socket
import threading
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from conformance.runtime_api.players import WAIT_S_MAX, Extension, Pending, Puppet, Runtime
from scenario.package import add
from scenario.program import PATIENCE, Answer, Program

SOURCE = Path(__file__).with_name("puppet.py").read_text()


class Stage:
    """One function, its puppets and its invokers.

    Args:
        daemon: the program that it is deployed to.
        extensions: the names of the extensions in its layer.
        layer: more files of its layer, each with its mode.
        settings: what CreateFunction takes beside.
    """

    def __init__(
        self,
        daemon: Program,
        extensions: tuple[str, ...] = (),
        layer: Mapping[str, tuple[str, int]] | None = None,
        **settings: Any,
    ) -> None:
        self._daemon, self.client = daemon, daemon.client
        self._waiting: dict[str, queue.Queue[Puppet]] = {}
        self._puppets: list[Puppet] = []
        self._lock, self._layer = threading.Lock(), ""
        files = {f"extensions/{name}": (SOURCE, 0o755) for name in extensions} | (layer or {})
        if files:
            self._layer = self._publish(files)
            settings["Layers"] = [self._layer]
        package = zipped({"bootstrap": (SOURCE, 0o755), "nonce": (secrets.token_hex(), 0o644)})
        standard = {"Runtime": "provided.al2023", "Handler": "any.handler"}
        self.name = daemon.deploy(package, **{**standard, **settings})
        tree = daemon.state_dir / "code" / hashlib.sha256(package).hexdigest() / "tree"
        self._listener = listen_in(tree)
        threading.Thread(target=self._accept, daemon=True).start()

    def _publish(self, files) -> str:
        published = self.client.publish_layer_version(
            LayerName=f"l-{secrets.token_hex(8)}", Content={"ZipFile": zipped(files)}
        )
        return published["LayerVersionArn"]

    def close(self) -> None:
        """Delete the function; its puppets end."""
        self.client.delete_function(FunctionName=self.name)
        if self._layer:
            layer, _, version = self._layer.rpartition(":")
            self.client.delete_layer_version(LayerName=layer, VersionNumber=int(version))
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for puppet in self._puppets:
            puppet.let_go()

    # --- puppets ----------------------------------------------------------------------------

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                wire, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[wire], daemon=True).start()

    def _serve(self, wire: socket.socket) -> None:
        try:
            puppet = Runtime(wire)
        except ValueError:  # It was ended before it has said a word.
            wire.close()
            return
        self._puppets.append(puppet)
        self._entrance(puppet.name).put(puppet)
        puppet.listen()

    def _entrance(self, name: str) -> queue.Queue[Puppet]:
        with self._lock:
            return self._waiting.setdefault(name, queue.Queue())

    def runtime(self, name: str = "bootstrap") -> Runtime:
        """The next runtime process to begin."""
        return self._entrance(name).get(timeout=WAIT_S_MAX)

    def extension(self, name: str) -> Extension:
        """The next process of that extension to begin."""
        return Extension(self.runtime(name), name)

    def began(self, name: str = "bootstrap") -> int:
        """How many processes have begun in all."""
        return sum(puppet.name == name for puppet in self._puppets)

    def spin_down(self) -> None:
        """End its idle environments, as whoever changes a function does."""
        self.client.update_function_configuration(FunctionName=self.name, Description="new")

    # --- invokers ---------------------------------------------------------------------------

    def wait_until_active(self, version: str) -> None:
        asked = {"FunctionName": self.name, "Qualifier": version}
        waiter = self.client.get_waiter("published_version_active")
        waiter.wait(**asked, WaiterConfig={"Delay": 0.02, "MaxAttempts": 500 * PATIENCE})

    def invoke(self, payload: bytes = b"{}", *, early: bool = False, **more: Any) -> Pending:
        """An invoker's answer, to come when all are done with the event.

        Early, that is without the log, it comes as soon as there is one: then the next event may
        be too soon for this environment, and be another's.
        """
        asked = {"FunctionName": self.name, "LogType": "None" if early else "Tail", **more}

        def answer() -> Answer:
            said = self.client.invoke(Payload=payload, **asked)
            return Answer(
                status=said["StatusCode"],
                error=said.get("FunctionError"),
                body=said["Payload"].read(),
                log=base64.b64decode(said.get("LogResult", "")).decode(),
                request_id=said["ResponseMetadata"]["RequestId"],
            )

        return in_a_thread(answer)

    def invoke_stream(self, payload: bytes = b"{}", **more: Any) -> Pending:
        """The event stream that an invoker gets, to come."""
        asked = {"FunctionName": self.name, "Payload": payload, **more}
        return in_a_thread(lambda: self.client.invoke_with_response_stream(**asked)["EventStream"])


def in_a_thread(function: Callable[[], Any]) -> Pending:
    pending = Pending()

    def run() -> None:
        try:
            pending.set_result(function())
        except Exception as error:  # noqa: BLE001, it is raised where the result is asked for
            pending.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return pending


def listen_in(folder: Path) -> socket.socket:
    """A socket that puppets find; by way of a descriptor, for the names of sockets are short."""
    listener = socket.socket(socket.AF_UNIX)
    descriptor = os.open(folder, os.O_PATH)
    try:
        listener.bind(f"/proc/self/fd/{descriptor}/stage")
    finally:
        os.close(descriptor)
    (folder / "stage").chmod(0o777)
    listener.listen()
    return listener


def zipped(files: Mapping[str, tuple[str, int]]) -> bytes:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (content, mode) in files.items():
            add(archive, name, content, mode)
    return package.getvalue()
