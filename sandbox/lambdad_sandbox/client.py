"""The runtime process of managed Python: the client that the zygote has loaded, without an exec.

What of a start depends on no function comes first (``prepare``), so that it can be done ahead;
what does, comes last (``wear``, ``run``). Not when it is started: that is init's matter.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from functools import cache

from lambdad_sandbox import syscalls
from lambdad_sandbox.channel import close_all
from lambdad_sandbox.messages import LOG_FD, StartProcess

_OURS = ("lambdad_sandbox", "msgpack")
_AUTHKEY_BYTES = 32  # as multiprocessing has it

_kept: list[object] = []


def prepare(name: str) -> None:
    """Be a process that runs the client ``name``, as any Python starts, but for its world."""
    _after_fork()
    syscalls.signal(signal.SIGINT, signal.default_int_handler)
    client = sys.modules[name]
    # What is ours must not be what a function's import finds. To let go of the modules would
    # write to every page that they stand on, so they are kept.
    _kept.extend(sys.modules.pop(module) for module in own_modules())
    sys.modules["__main__"] = client
    if "__mp_main__" in sys.modules:  # What multiprocessing calls the same.
        sys.modules["__mp_main__"] = client
    sys.argv = [client.__file__ or name]


def wear(wanted: StartProcess, descriptors: Sequence[int]) -> None:
    """Take the outputs and the directory of a process that is about to be started."""
    given = dict(zip(wanted.descriptors, descriptors))
    os.dup2(given["stdout"], 1)
    os.dup2(given.get("stderr", 1), 2)
    if "log" in given:
        # A client that is executed has to inherit it; what a loaded one starts has not.
        os.dup2(given["log"], LOG_FD, inheritable=bool(wanted.command))
    close_all(descriptors)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    os.chdir(wanted.directory)


def run(name: str, environ: dict[str, str]) -> int:
    """Run the client to its end, with these variables; its exit status."""
    set_environ(environ)
    gc.enable()
    return _exit_status(sys.modules[name])


def set_environ(environ: dict[str, str]) -> None:
    """``os.environ.update``, with half of its page faults."""
    known: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]  # noqa: SLF001  there is no public way
    for name, value in environ.items():
        os.putenv(name, value)
        known[os.fsencode(name)] = os.fsencode(value)
    time.tzset()


@cache
def own_modules() -> list[str]:
    """The modules that are the platform's; asked once, ahead of time, by the zygote."""
    return [module for module in sys.modules if module.partition(".")[0] in _OURS]


def _after_fork() -> None:
    """What Python's fork handlers would do that matters to a process with one thread, and more:
    what a module makes at random when it is imported is not to be the same in all clones.
    """
    if "random" in sys.modules:
        sys.modules["random"].seed()
    if "threading" in sys.modules:
        sys.modules["threading"].main_thread()._set_native_id()  # noqa: SLF001  there is no public way
    if "multiprocessing.process" in sys.modules:
        # It makes its key when it is imported: the zygote's would be known to every function.
        process = sys.modules["multiprocessing.process"].current_process()
        process.authkey = os.urandom(_AUTHKEY_BYTES)


def _exit_status(client: object) -> int:
    """Run to the end as an interpreter would, exit handlers and all."""
    status = 0
    try:
        client.main()  # type: ignore[attr-defined]
    except SystemExit as leaving:
        if isinstance(leaving.code, int):
            status = leaving.code & 0xFF
        elif leaving.code is not None:
            print(leaving.code, file=sys.stderr)  # noqa: T201  as sys.exit does
            status = 1
    except BaseException:  # noqa: BLE001  the interpreter's own last resort
        traceback.print_exc()
        status = 1
    _leave()
    return status


def _leave() -> None:
    import atexit  # noqa: PLC0415  only a process that ends pays for these
    import threading  # noqa: PLC0415

    for last_deed in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]  # noqa: SLF001  there is no public way
        last_deed()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            continue
