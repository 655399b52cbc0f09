"""What lets clones of a zygote go on sharing its memory; done before the first of them is made.

A clone has a page of its own as soon as it writes to one, and CPython writes wherever it looks:
every object holds the count of its references, and code the counters that decide when it is
specialised. What a clone allocates fills the holes that were left all over the heap. So the code
that clones run is put side by side, the holes are filled, and from CPython 3.12 on all that there
is becomes immortal: nobody counts references to what is. That halves what a clone writes to.

Sources: PEP 683, PEP 659, ``gc.freeze`` of the standard library, malloc(3).
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType

from lambdad_sandbox import syscalls

# Where there are immortal objects at all; not in builds without the lock, whose objects differ.
_HAS_IMMORTAL = sys.version_info >= (3, 12) and "t" not in sys.abiflags

# Blocks of pymalloc: their sizes, what a bytes object takes of one, and where in its pool the
# first block lies (Objects/obmalloc.c).
_SIZES, _BYTES_OVERHEAD = range(48, 513, 16), sys.getsizeof(b"")
_POOL_BYTES, _FIRST_BLOCK = 4_096, 48
_FILLING_MAX = 4_096  # blocks of each size
# What malloc(3) takes from the end of its heap, rather than from a hole or from the kernel.
_LARGE_BYTES = 100_000
_HOLES_BYTES_MAX = 16 * 1024 * 1024  # Where a heap grows downwards, all of it lies before its end.

_kept: list[object] = []


def gather(rehearse: Callable[[], None]) -> None:
    """Put the code that a rehearsal runs side by side; it has to be specialised afterwards."""
    ran: set[CodeType] = set()
    sys.setprofile(lambda frame, *_: ran.add(frame.f_code))
    try:
        rehearse()
    finally:
        sys.setprofile(None)
    _fill_holes()
    for one in gc.get_objects():
        if type(one) is FunctionType and one.__code__ in ran:
            one.__code__ = one.__code__.replace()


def settle() -> None:
    """Nothing that there is now goes any more: have clones write to as little of it as can be."""
    gc.collect()
    _fill_holes()
    if _HAS_IMMORTAL:
        _make_immortal()
    gc.freeze()
    gc.disable()


def _fill_holes() -> None:
    _fill_holes_of_malloc()
    _kept.extend(_fillings())


def _fill_holes_of_malloc() -> None:
    """Take all blocks that lie before the end of the heap, the large ones first."""
    end = syscalls.malloc(_LARGE_BYTES)
    left = _HOLES_BYTES_MAX
    for size in (*range(65_536, 4_096, -1_024), *range(4_096, 0, -16)):
        while left > 0 and 0 < syscalls.malloc(size) < end:
            left -= size


def _fillings() -> Iterable[bytes]:
    """Take the free blocks of each size of pymalloc, until one lies in a fresh pool."""
    for size in _SIZES:
        for _ in range(_FILLING_MAX):
            block = bytes(size - _BYTES_OVERHEAD)
            yield block
            if id(block) % _POOL_BYTES == _FIRST_BLOCK:
                break


def _make_immortal() -> None:
    """Give every object that can be reached the count of those that never go."""
    found: dict[int, object] = {}
    ours = {id(found)}
    todo = gc.get_objects()
    while todo:
        ours.add(id(todo))
        new = {id(one): one for one in todo if id(one) not in found and id(one) not in ours}
        found.update(new)
        todo = [*gc.get_referents(*new.values())]
        for one in new.values():
            if isinstance(one, CodeType):  # The collector does not look into these.
                todo += [one.co_consts, one.co_names]
    for one in found.values():
        syscalls.make_immortal(one)
