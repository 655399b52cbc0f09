"""Functions that take whatever they get. Each is bounded by itself, too: a host whose limits do
not hold is to survive the attempt.

An event names a bomb and for how many seconds it goes on; an empty one asks whether all is well.
A bomb says ``going`` once it goes, and gives back what it got before it was refused more.
"""

import contextlib
import ctypes
import errno
import mmap
import os
import pathlib
import re
import signal
import threading
import time

MIB = 1 << 20
MEMORY_MB_MAX = 4_096
PROCESSES_MAX = 4_096
DESCRIPTORS_MAX = 65_536
LOG_BYTES = 50 * MIB
OUTLIVES_S_MAX = 60  # what a bomb leaves behind ends by then, were it not ended before


def handler(event, _):
    if not event:
        return "well"
    os.write(1, b"going\n")
    return BOMBS[event["bomb"]](time.monotonic() + event["seconds"])


# --- processes and threads -----------------------------------------------------------------


def forks(end):
    """Every process forks on, and so do its children, until they have been refused more."""
    refused = mmap.mmap(-1, mmap.PAGESIZE)  # shared by all of them
    itself = os.getpid()
    while time.monotonic() < end or (not refused[0] and time.monotonic() < end + OUTLIVES_S_MAX):
        try:
            os.fork()
        except OSError as error:
            refused[0] = error.errno
    if os.getpid() != itself:
        os._exit(0)
    return errno.errorcode.get(refused[0])


def threads(end):
    """As many threads as there can be, kept."""
    over = threading.Event()
    begun = []
    try:
        while len(begun) < PROCESSES_MAX:
            thread = threading.Thread(target=over.wait, daemon=True)
            thread.start()
            begun.append(thread)
    except RuntimeError:
        _hold(end)
        return len(begun)
    finally:
        over.set()
        for thread in begun:
            thread.join()


def relay(end):
    """A process that is never there any more when it is looked for: each forks and leaves."""
    while time.monotonic() < end + OUTLIVES_S_MAX:
        if os.fork():
            os._exit(1)


def daemons(end):
    """Double-forked, in a session of its own, busy for long after the answer."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while time.monotonic() < end + OUTLIVES_S_MAX:
                pass
        os._exit(0)
    os.wait()
    return "left"


# --- memory --------------------------------------------------------------------------------


def memory(_):
    """Anonymous pages, until the kernel has had enough."""
    kept = []
    while len(kept) < MEMORY_MB_MAX:
        kept.append(b"x" * MIB)
    return len(kept)


def shared_memory(_):
    """Pages of an unnamed file in memory, see shmem in the kernel's documentation."""
    shared = mmap.mmap(-1, MEMORY_MB_MAX * MIB)
    for page in range(0, MEMORY_MB_MAX * MIB, mmap.PAGESIZE):
        shared[page] = 1
    return MEMORY_MB_MAX


def tmp(_):
    """Files in /tmp, removed again if there is anybody left to do so."""
    kept, taken_mb = pathlib.Path("/tmp/bomb"), 0
    try:
        with kept.open("wb", buffering=0) as file:
            while taken_mb < MEMORY_MB_MAX:
                file.write(bytes(MIB))
                taken_mb += 1
    except OSError as error:
        return errno.errorcode[error.errno]
    finally:
        kept.unlink()
    return taken_mb


def child_memory(end):
    """A child takes it all, again and again; its parent takes nothing."""
    signals = set()
    while time.monotonic() < end or not signals:
        child = os.fork()
        if child == 0:
            os._exit(memory(end) > 0)
        signals.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return sorted(signals)


# --- what the kernel counts for all --------------------------------------------------------


def descriptors(end):
    return _until_refused(lambda: os.open("/dev/null", os.O_RDONLY), end)


def inotify(end):
    """Instances of inotify(7), which are counted for each user."""
    return _until_refused(_inotify_init, end)


def terminals(end):
    """Pseudo-terminals, which are counted for the whole host; see pty(7)."""
    return _until_refused(lambda: os.openpty()[0], end)


def _inotify_init():
    descriptor = _LIBC.inotify_init1(os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    return descriptor


def _until_refused(take, end):
    taken = []
    try:
        while len(taken) < DESCRIPTORS_MAX:
            taken.append(take())
    except OSError as error:
        _hold(end)
        return [len(taken), errno.errorcode[error.errno]]
    finally:
        for descriptor in taken:
            os.close(descriptor)
    return [len(taken), None]


# --- time and talk -------------------------------------------------------------------------


def log(_):
    """Much, and no newline."""
    piece = memoryview(b"x" * 65_536)
    left = LOG_BYTES
    while left > 0:
        left -= os.write(1, piece[:left])
    return LOG_BYTES


def stop(end):
    """Not to be woken by anything within."""
    os.kill(os.getpid(), signal.SIGSTOP)
    _hold(end)


def spin(end):
    """Deaf to every signal that one can be deaf to."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while time.monotonic() < end + OUTLIVES_S_MAX:
        pass


def backtrack(_):
    """One expression that takes longer than there is time; no other thread gets a turn."""
    return bool(re.fullmatch(r"(x+x+)+y", "x" * 40))


def _hold(end):
    with contextlib.suppress(ValueError):
        time.sleep(end - time.monotonic())


_LIBC = ctypes.CDLL(None, use_errno=True)
BOMBS = {
    bomb.__name__: bomb
    for bomb in (
        forks,
        threads,
        relay,
        daemons,
        memory,
        shared_memory,
        tmp,
        child_memory,
        descriptors,
        inotify,
        terminals,
        log,
        stop,
        spin,
        backtrack,
    )
}
