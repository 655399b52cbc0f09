"""The managed Python runtime: loads a handler, then gives it one event after another.

It is run as a script, or imported ahead and `main()` called in a process forked much later.
Importing it therefore opens nothing, reads no environment variable and changes nothing; it only
brings in what every start needs. What it sends and prints is what AWS's client 4.2.2 would:
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import site
import socket
import sys
import traceback

# The name is enough for type checkers, and `typing` costs more to import than all of this.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from typing import Any, NoReturn

    # File, line, function, and the text of the line.
    Frame = tuple[str, int, str, str]

    from lambdad_bootstrap.guest import (
        lambdad_client,
        lambdad_context,
        lambdad_json,
        lambdad_log,
        lambdad_snapstart,
        lambdad_workers,
    )
else:
    # Inside an environment these files lie side by side, without a package around them.
    import lambdad_client
    import lambdad_context
    import lambdad_json
    import lambdad_log
    import lambdad_snapstart
    import lambdad_workers

_INIT_WARNING = (
    "LAMBDA_WARNING: Unhandled exception. The function could not be started; most likely its"
    " code or what is packed with it is at fault.\r"
)
_LAYERS = (
    f"/opt/python/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages",
    "/opt/python",
)
# Of the standard library, what a process that has imported this ahead may have loaded, and one
# that is executed has not: there, a function's own module of such a name is found first.
_NOT_OURS = frozenset(
    {
        "annotationlib",
        "ast",
        "copy",
        "ctypes",
        "dataclasses",
        "datetime",
        "dis",
        "fcntl",
        "grp",
        "inspect",
        "opcode",
        "platform",
        "pwd",
        "resource",
        "runpy",
        "signal",
        "struct",
        "subprocess",
        "token",
        "tokenize",
        "typing",
    }
)
_REHEARSED_EVENT = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 39\r\n"
    b"Lambda-Runtime-Aws-Request-Id: 00000000-0000-4000-8000-000000000000\r\n"
    b"Lambda-Runtime-Deadline-Ms: 1\r\nLambda-Runtime-Invoked-Function-Arn: arn\r\n"
    b"Lambda-Runtime-Trace-Id: Root=1-0-0\r\nDate: today\r\nServer: none\r\n\r\n"
    b'{"key": ["value", 1, 2.5, null, false]}'
)
_REHEARSED_ACCEPTANCE = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


class Fault(Exception):
    """An error that the runtime words itself, not one that the function raised."""

    def __init__(self, error_type: str, message: str, trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.error_type, self.trace = error_type, trace or []


def main() -> NoReturn:
    """Run the function named by the environment, until the process is ended.

    Raises:
        SystemExit: with status 1 when the handler cannot be loaded, 64 or 65 when a hook of
            SnapStart fails, 0 when all workers have ended, or as the function says.
        RuntimeApiError: the Runtime API is not to be spoken with any more.
    """
    # Imported ahead, this module must not be what a function's `import bootstrap` finds.
    if __name__ != "__main__":
        sys.modules.pop(__name__, None)
    sys.stdout, sys.stderr = lambdad_log.Unbuffered(sys.stdout), lambdad_log.Unbuffered(sys.stderr)
    environ = os.environ
    runtime = Runtime(environ, lambdad_workers.client_of(environ))
    extend_search_path(
        environ.get("LAMBDA_TASK_ROOT", "/var/task"), environ.get("PYTHONPATH", "").split(":")
    )
    request_handler = runtime.start(environ.get("_HANDLER", ""))
    if environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        runtime.be_restored()
    while True:
        runtime.run_next(request_handler)


def rehearse() -> None:
    """Run one event, with both ends of the connection in this process; leaves no trace.

    The interpreter specialises code by writing into it when it first runs. A process forked
    after some rehearsals finds that done, where each write would cost it a copied page.
    """
    ours, theirs = socket.socketpair()
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    environ = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9", "_LAMBDA_TELEMETRY_LOG_FD": "-1"}
    path = sys.path[:]
    with ours, theirs:
        theirs.sendall(_REHEARSED_EVENT + _REHEARSED_ACCEPTANCE)
        runtime = Runtime(environ, lambdad_workers.client_of(environ))
        runtime.client.use(ours)
        runtime.run_next(load_handler("rehearsal.handler"))
        runtime.client.close()
    del sys.modules["rehearsal"], os.environ["_X_AMZN_TRACE_ID"]
    root.setLevel(level)
    root.handlers[:] = handlers
    # Nothing is imported by this path: what an import does not find there, none will later.
    extend_search_path("/var/task", [])
    sys.path[:] = path


def stand_by(host: str, port: int) -> None:
    """Connect to the Runtime API, which is at that address, before there is anything to ask."""
    lambdad_client.connect_ahead(host, port)


def search_path(task_root: str, python_path: list[str], present: list[str]) -> list[str]:
    """The order in which modules are looked for: the function, its layers, everything else.

    https://docs.aws.amazon.com/lambda/latest/dg/python-package.html
    """
    named = [entry for entry in python_path if entry]
    return list(dict.fromkeys([task_root, *_LAYERS, *named, *present]))


def extend_search_path(task_root: str, python_path: list[str]) -> None:
    """Let the function and its layers be found, what they bring before what was loaded ahead.

    The .pth files that they bring are honoured.
    """
    sys.path[:] = search_path(task_root, python_path, sys.path)
    for directory in sys.path[:3]:
        try:
            names = os.listdir(directory)  # noqa: PTH208 - as pathlib below
        except OSError:
            # Most functions have no layers.
            continue
        for name in names:
            module = name.partition(".")[0]
            if module in _NOT_OURS:
                sys.modules.pop(module, None)
        if any(name.endswith(".pth") for name in names):
            site.addsitedir(directory)


def load_handler(handler: str) -> Callable[[Any, Any], Any]:
    """Import what a handler's name says.

    Args:
        handler: `module.function`, where the module may be a path with slashes.

    Raises:
        Fault: the name, the module or the handler is not right.
        Exception: whatever the module raises while it is imported.
    """
    module_name, dot, name = handler.rpartition(".")
    if not dot:
        reason = "not enough values to unpack (expected 2, got 1)"
        raise Fault("Runtime.MalformedHandlerName", f"Bad handler '{handler}': {reason}")
    if module_name.split(".")[0] in sys.builtin_module_names:
        text = f"Cannot use built-in module {module_name} as a handler module"
        raise Fault("Runtime.BuiltInModuleConflict", text)
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        text = f"Unable to import module '{module_name}': {error}"
        raise Fault("Runtime.ImportModuleError", text) from error
    except SyntaxError as error:
        text = f"Syntax error in module '{module_name}': {error}"
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        raise Fault("Runtime.UserCodeSyntaxError", text, trace) from error
    try:
        request_handler: Callable[[Any, Any], Any] = getattr(module, name)
    except AttributeError as error:
        text = f"Handler '{name}' missing on module '{module_name}'"
        raise Fault("Runtime.HandlerNotFound", text) from error
    return request_handler


class Runtime:
    """One runtime process: its connection, its log, and how it renders values.

    Args:
        environ: the variables that AWS defines for a runtime.
        client: its connection.
    """

    def __init__(
        self, environ: MutableMapping[str, str], client: lambdad_client.RuntimeClient
    ) -> None:
        self.client = client
        self._encoder = lambdad_json.Encoder(environ.get("AWS_EXECUTION_ENV", ""))
        log_format = environ.get("AWS_LAMBDA_LOG_FORMAT", "")
        self._logs_json = lambdad_log.is_json(log_format)
        log_level = environ.get("AWS_LAMBDA_LOG_LEVEL", "")
        self._log = lambdad_log.take_log(environ)
        self._handler = lambdad_log.set_up(log_format, log_level, self._log)

    def start(self, handler: str) -> Callable[[Any, Any], Any]:
        """Load the handler, or report why not and end the process with status 1."""
        try:
            return load_handler(handler)
        except Exception as problem:  # noqa: BLE001 - whatever a function's module may raise
            error = describe(problem, function_frames(problem), "")
        logging.warning(_INIT_WARNING)  # noqa: LOG015 - the function's own root logger
        self._log_error(error)
        self.client.post_init_error(self._encoder.encode(error).encode(), error["errorType"])
        sys.exit(1)

    def be_restored(self) -> None:
        """Run the hooks of SnapStart, and wait for the restore that lies between them.

        https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html

        Raises:
            SystemExit: something failed; it has been logged and reported.
        """
        try:
            lambdad_snapstart.run_before_snapshot()
            lambdad_snapstart.lie_still(self.client.restore_next)
        except BaseException as problem:  # noqa: BLE001 - a hook that exits has failed, too
            body = self._logged(problem)
            self.client.post_init_error(body, "Runtime.BeforeSnapshotError")
            sys.exit(64)
        try:
            lambdad_snapstart.run_after_restore()
        except BaseException as problem:  # noqa: BLE001 - as above
            body = self._logged(problem)
            self.client.post_restore_error(body, "Runtime.AfterRestoreError")
            sys.exit(65)

    def run_next(self, request_handler: Callable[[Any, Any], Any]) -> None:
        """Wait for an event, run the handler with it, and post what became of it."""
        invocation = self.client.next_invocation()
        handler = self._handler
        handler.request_id, handler.tenant_id = invocation.request_id, invocation.tenant_id
        if invocation.trace_id is None:
            os.environ.pop("_X_AMZN_TRACE_ID", None)
        else:
            os.environ["_X_AMZN_TRACE_ID"] = invocation.trace_id
        self.handle_event_request(request_handler, invocation)

    # The name and the line that calls the handler can be seen in stack traces of functions
    # that do not take two arguments.
    def handle_event_request(
        self, request_handler: Callable[[Any, Any], Any], invocation: lambdad_client.Invocation
    ) -> None:
        try:
            lambda_context = make_context(invocation)
            event = read_event(invocation)
            response = request_handler(event, lambda_context)
            result, content_type = self._render(response)
        except Exception as problem:  # noqa: BLE001 - whatever a function may raise
            frames = function_frames(problem)
            error = describe(problem, frames, invocation.request_id)
            self._log_error(error)
            cause = self._encoder.encode(describe_for_xray(problem, frames))
            self.client.post_error(invocation, self._encoder.encode(error).encode(), cause)
        else:
            body = result.encode() if isinstance(result, str) else result
            self.client.post_response(invocation, body, content_type)

    def _render(self, response: Any) -> tuple[str | bytes, str]:
        """Turn a result into text and its type; bytes are what they are."""
        if isinstance(response, bytes):
            return response, "application/unknown"
        try:
            return self._encoder.encode(response), "application/json"
        except Exception as error:
            text = f"Unable to marshal response: {error}"
            raise Fault("Runtime.MarshalError", text) from error

    def _logged(self, problem: BaseException) -> bytes:
        """Log an error that belongs to no event; as it is to be posted."""
        error = describe(problem, function_frames(problem), "")
        self._log_error(error)
        return self._encoder.encode(error).encode()

    def _log_error(self, error: dict[str, Any]) -> None:
        if self._logs_json:
            lines = [self._encoder.encode(lambdad_log.error_fields(error))]
        else:
            lines = lambdad_log.error_lines(error)
        kind = lambdad_log.frame_type(logging.ERROR, as_json=self._logs_json)
        self._log.write_error(lines, kind)


def make_context(invocation: lambdad_client.Invocation) -> lambdad_context.LambdaContext:
    return lambdad_context.LambdaContext(
        request_id=invocation.request_id,
        client_context=_parse_header(invocation.client_context, "Client Context"),
        cognito_identity=_parse_header(invocation.cognito_identity, "Cognito Identity"),
        deadline_ms=invocation.deadline_ms,
        function_arn=invocation.function_arn,
        tenant_id=invocation.tenant_id,
    )


def _parse_header(text: str | None, name: str) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except Exception as error:
        message = f"Unable to parse {name} JSON: {error}"
        raise Fault("Runtime.LambdaContextUnmarshalError", message) from error


def read_event(invocation: lambdad_client.Invocation) -> Any:
    """The handler's first argument: the parsed event, or bytes if it does not claim to be JSON."""
    if invocation.content_type != "application/json":
        return invocation.payload
    try:
        return lambdad_json.decode(invocation.payload)
    except Exception as error:
        text = f"Unable to unmarshal input: {error}"
        raise Fault("Runtime.UnmarshalError", text) from error


def describe(problem: BaseException, frames: list[Frame], request_id: str) -> dict[str, Any]:
    """An error as it is posted and logged, in AWS's order of keys."""
    if isinstance(problem, Fault):
        error_type, trace = problem.error_type, problem.trace
    else:
        error_type, trace = type(problem).__name__, traceback.format_list(frames)
    return {
        "errorMessage": str(problem),
        "errorType": error_type,
        "requestId": request_id,
        "stackTrace": trace,
    }


def describe_for_xray(problem: Exception, frames: list[Frame]) -> dict[str, Any]:
    """An error as X-Ray keeps it: its name, its words, and where it came from."""
    name = "LambdaValidationError" if isinstance(problem, Fault) else type(problem).__name__
    stack = [{"label": label, "path": path, "line": line} for path, line, label, _ in frames]
    return {
        "working_directory": os.getcwd(),  # noqa: PTH109 - pathlib is not worth its import here
        "exceptions": [{"message": str(problem), "type": name, "stack": stack}],
        "paths": list(dict.fromkeys(frame[0] for frame in frames)),
    }


def function_frames(problem: BaseException) -> list[Frame]:
    """The frames of an error from the first one that is not the runtime's own.

    As under AWS's client, frames of any file called bootstrap.py count as its own, but all are
    kept if there are no others, and columns are left out.
    """
    if isinstance(problem, Fault):
        return []
    frames = [
        (frame.filename, frame.lineno or 0, frame.name, frame.line or "")
        for frame in traceback.extract_tb(problem.__traceback__)
    ]
    for position, frame in enumerate(frames):
        if "/bootstrap.py" not in frame[0]:
            return frames[position:]
    return frames


if __name__ == "__main__":
    main()
