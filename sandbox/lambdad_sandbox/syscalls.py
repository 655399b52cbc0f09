"""The only user of ctypes: one wrapper per system call, under the call's own name.

Each wrapper raises OSError as the standard library would. Numbers and constants are the
kernel's (include/uapi/linux), see the man page of each call.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # It is private, and in every CPython.
import ctypes
import os
import platform
import struct

# PyDLL keeps the interpreter's lock, which is what one wants around clone3.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.malloc.restype = ctypes.c_void_p
# CDLL lets the other threads run meanwhile: for what waits for a disk, or makes a network.
_libc_waiting = ctypes.CDLL(None, use_errno=True)
_libc_waiting.syscall.restype = ctypes.c_long

_NUMBERS = {
    "x86_64": {
        "pivot_root": 155, "capset": 126, "keyctl": 250, "seccomp": 317, "kcmp": 312,
        "get_robust_list": 274,
    },
    "aarch64": {
        "pivot_root": 41, "capset": 91, "keyctl": 219, "seccomp": 277, "kcmp": 272,
        "get_robust_list": 100,
    },
}.get(platform.machine(), {})  # fmt: skip
# Calls since Linux 5.1 bear one number on every architecture.
_NUMBERS.update(open_tree=428, move_mount=429, clone3=435, close_range=436, mount_setattr=442)
_NUMBERS.update(fsopen=430, fsconfig=431, fsmount=432)

# mount(2)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 32, 4096, 8192, 16384, 1 << 18
MNT_DETACH = 2

# mount_setattr(2), open_tree(2), move_mount(2)
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4

# fsopen(2), fsconfig(2), fsmount(2)
FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOATIME = 1, 1, 16
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 0, 1, 6

# clone(2), namespaces(7)
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
CLONE_INTO_CGROUP = 0x200000000
CLONE_VM, CLONE_FILES, CLONE_SIGHAND, CLONE_PARENT = 0x100, 0x400, 0x800, 0x8000
CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x200000, 0x1000000

# prctl(2)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
PR_CAPBSET_DROP, PR_SET_SECUREBITS, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 24, 28, 36, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
# capabilities(7): NOROOT, NO_SETUID_FIXUP, KEEP_CAPS off, NO_CAP_AMBIENT_RAISE, each locked.
SECBITS_LOCKED = 0b11101111

_KEYCTL_JOIN_SESSION_KEYRING = 1
_SECCOMP_SET_MODE_FILTER = 1
_CAPABILITY_VERSION_3 = 0x20080522


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _syscall(name: str, *arguments: object) -> int:
    return _check(_libc.syscall(_NUMBERS[name], *arguments))


def mount(
    source: str | None, target: str, fstype: str | None, flags: int, data: str | None = None
) -> None:
    text = [None if value is None else os.fsencode(value) for value in (source, target, fstype)]
    _check(_libc.mount(*text, ctypes.c_ulong(flags), None if data is None else os.fsencode(data)))


def umount2(target: str, flags: int) -> None:
    _check(_libc.umount2(os.fsencode(target), flags))


def pivot_root(new_root: str, put_old: str) -> None:
    _syscall("pivot_root", os.fsencode(new_root), os.fsencode(put_old))


def unshare(flags: int) -> None:
    _check(_libc_waiting.unshare(flags))


def setns(namespace: int, kind: int) -> None:
    """Enter the namespace behind a descriptor, see setns(2)."""
    _check(_libc.setns(namespace, kind))


def sethostname(name: str) -> None:
    encoded = name.encode()
    _check(_libc.sethostname(encoded, len(encoded)))


def prctl(option: int, argument: int = 0, argument_3: int = 0) -> None:
    _check(_libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(argument_3), 0, 0))


def open_tree(path: str, *, recursive: bool = False) -> int:
    """A detached copy of the mount at ``path``, as a descriptor; see open_tree(2)."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return _syscall("open_tree", AT_FDCWD, os.fsencode(path), flags)


def mount_setattr(tree: int, attributes: int, *, recursive: bool = False) -> None:
    """Set attributes on a detached mount, see mount_setattr(2)."""
    attr = struct.pack("QQQQ", attributes, 0, 0, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _syscall("mount_setattr", tree, b"", flags, attr, ctypes.c_size_t(len(attr)))


def move_mount(tree: int, target: str) -> None:
    """Attach a detached mount at ``target``, see move_mount(2)."""
    _syscall("move_mount", tree, b"", AT_FDCWD, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH)


def read_only_tree(path: str, *, recursive: bool = False) -> int:
    """A detached, read-only, nosuid, nodev view of ``path``: one descriptor, no window."""
    tree = open_tree(path, recursive=recursive)
    try:
        mount_setattr(
            tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, recursive=recursive
        )
    except OSError:
        os.close(tree)
        raise
    return tree


def fsopen(fstype: str) -> int:
    """A file system that is still to be configured, as a descriptor; see fsopen(2)."""
    return _syscall("fsopen", os.fsencode(fstype), FSOPEN_CLOEXEC)


def fsconfig_set(context: int, key: str, value: str | None = None) -> None:
    """Set one option, a flag if it has no value, see fsconfig(2)."""
    command = FSCONFIG_SET_FLAG if value is None else FSCONFIG_SET_STRING
    text = None if value is None else os.fsencode(value)
    _syscall("fsconfig", context, command, os.fsencode(key), text, 0)


def fsconfig_create(context: int) -> None:
    """Make the file system; reads its disk, and waits for that. See fsconfig(2)."""
    arguments = (context, FSCONFIG_CMD_CREATE, None, None, 0)
    _check(_libc_waiting.syscall(_NUMBERS["fsconfig"], *arguments))


def fsmount(context: int, attributes: int) -> int:
    """The made file system as a detached mount with MOUNT_ATTR_*, see fsmount(2)."""
    return _syscall("fsmount", context, FSMOUNT_CLOEXEC, attributes)


def syncfs(descriptor: int) -> None:
    """Flush the file system that a descriptor lies on, see sync(2).

    Raises:
        OSError: a write has failed since the descriptor was opened.
    """
    _check(_libc_waiting.syncfs(descriptor))


def close_range(first: int, last: int) -> None:
    _syscall("close_range", ctypes.c_uint(first), ctypes.c_uint(last), 0)


def capset_none() -> None:
    """Empty the permitted, effective and inheritable sets, see capset(2)."""
    _syscall("capset", struct.pack("Ii", _CAPABILITY_VERSION_3, 0), bytes(24))


def join_new_session_keyring() -> None:
    """keyctl(2), KEYCTL_JOIN_SESSION_KEYRING: an anonymous keyring instead of the inherited."""
    _syscall("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, None)


class SeccompProgram:
    """A filter laid out in memory for the kernel: struct sock_fprog, see seccomp(2).

    Made ahead of time: to lay it out costs more than to install it.
    """

    def __init__(self, instructions: bytes) -> None:
        self.instructions = instructions
        self._instructions = ctypes.create_string_buffer(instructions, len(instructions))
        address = ctypes.addressof(self._instructions)
        self.header = struct.pack("HxxxxxxQ", len(instructions) // 8, address)


def seccomp(program: SeccompProgram) -> None:
    """Install a filter for good, see seccomp(2)."""
    _syscall("seccomp", _SECCOMP_SET_MODE_FILTER, 0, program.header)


def signal(number: int, handler: object) -> None:
    """``signal.signal`` without the enums around it, which cost a clone 55 page faults."""
    _signal.signal(number, int(handler) if isinstance(handler, int) else handler)


def signal_default(number: int) -> None:
    """Set a signal to its default, see signal(2); Python's own record of it stays as it was."""
    _libc.signal(number, 0)


class _CloneArgs(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size",
            "tls", "set_tid", "set_tid_size", "cgroup",
        )
    ]  # fmt: skip


def fork() -> int:
    """fork(3): libc's handlers are run, Python's are not; the same holds as for ``clone3``."""
    return _check(_libc.fork())


def clone3(flags: int, exit_signal: int, cgroup: int | None = None) -> int:
    """Fork into new namespaces, see clone3(2); the child's pid in the parent, 0 in the child.

    Unlike os.fork() it runs none of Python's fork handlers, which mend what other threads leave
    behind: the caller must have no thread but its own. Nor libc's: the child must not be what a
    guest runs in, that is forked from it.

    Args:
        flags: CLONE_NEW* of the namespaces wanted.
        exit_signal: what the parent gets when the child ends.
        cgroup: a descriptor of the v2 cgroup to be born in.
    """
    arguments = _CloneArgs(
        flags=flags | (0 if cgroup is None else CLONE_INTO_CGROUP),
        exit_signal=exit_signal,
        cgroup=cgroup or 0,
    )
    return _syscall("clone3", ctypes.byref(arguments), ctypes.sizeof(arguments))


# ptrace(2)
PTRACE_CONT, PTRACE_DETACH, PTRACE_GETEVENTMSG = 7, 17, 0x4201
PTRACE_GETREGSET, PTRACE_SETREGSET = 0x4204, 0x4205
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
PTRACE_GETSIGMASK, PTRACE_SETSIGMASK, PTRACE_GET_RSEQ_CONFIGURATION = 0x420A, 0x420B, 0x420F
PTRACE_O_TRACEFORK, PTRACE_O_TRACECLONE, PTRACE_O_EXITKILL = 2, 8, 1 << 20
PTRACE_EVENTS = frozenset({1, 3})  # of fork and of clone, beside SIGTRAP in a status
NT_PRSTATUS, NT_PRFPREG, NT_X86_XSTATE = 1, 2, 0x202

WALL = 0x40000000  # wait(2): children of every kind
KCMP_VM = 1  # kcmp(2)

_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_REGISTER_BYTES_MAX = 16 * 1024


def ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> int:
    """One request of ptrace(2) that gives and takes plain numbers."""
    return _check(_libc.ptrace(request, pid, address, data))


def ptrace_event_message(pid: int) -> int:
    """What the last event of a tracee is about: the pid of what it has forked."""
    message = ctypes.c_ulong()
    _check(_libc.ptrace(PTRACE_GETEVENTMSG, pid, None, ctypes.byref(message)))
    return message.value


def ptrace_registers(pid: int, kind: int) -> bytes:
    """A set of registers of a stopped tracee, PTRACE_GETREGSET."""
    room = ctypes.create_string_buffer(_REGISTER_BYTES_MAX)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(room), _REGISTER_BYTES_MAX)
    _check(_libc.ptrace(PTRACE_GETREGSET, pid, kind, vector))
    return room.raw[: vector[1]]


def ptrace_set_registers(pid: int, kind: int, registers: bytes) -> None:
    """Give a stopped tracee these, PTRACE_SETREGSET."""
    room = ctypes.create_string_buffer(registers, len(registers))
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(room), len(registers))
    _check(_libc.ptrace(PTRACE_SETREGSET, pid, kind, vector))


def ptrace_signal_mask(pid: int) -> bytes:
    """The signals that a stopped tracee blocks, PTRACE_GETSIGMASK."""
    room = ctypes.create_string_buffer(8)
    _check(_libc.ptrace(PTRACE_GETSIGMASK, pid, 8, room))
    return room.raw


def ptrace_set_signal_mask(pid: int, mask: bytes) -> None:
    room = ctypes.create_string_buffer(mask, 8)
    _check(_libc.ptrace(PTRACE_SETSIGMASK, pid, 8, room))


def ptrace_rseq(pid: int) -> tuple[int, int, int] | None:
    """Address, size and signature of a tracee's restartable sequences; None if it has none.

    See rseq in the kernel's include/uapi/linux/ptrace.h.
    """
    room = ctypes.create_string_buffer(24)
    _check(_libc.ptrace(PTRACE_GET_RSEQ_CONFIGURATION, pid, 24, room))
    address, size, signature, _, _ = struct.unpack("QIIII", room.raw)
    return (address, size, signature) if address else None


def robust_list(pid: int) -> tuple[int, int]:
    """Head and size of a thread's list of robust futexes, 0 for one's own; get_robust_list(2)."""
    head, size = ctypes.c_void_p(), ctypes.c_size_t()
    _syscall("get_robust_list", pid, ctypes.byref(head), ctypes.byref(size))
    return head.value or 0, size.value


def same_memory(one: int, other: int) -> bool:
    """Whether two processes share all of it, see kcmp(2)."""
    return _syscall("kcmp", one, other, KCMP_VM, 0, 0) == 0


def thread_id_address() -> int | None:
    """Where libc remembers the id of this thread; None if that cannot be told.

    It does so to lock and to signal itself. Whoever becomes another process without libc's
    fork(3) has to be told. One place is to be expected; several cannot be told apart.
    """
    identity = ctypes.pythonapi.PyThread_get_thread_ident
    identity.restype = ctypes.c_ulong
    pointer: int = identity()  # what glibc and musl call the thread pointer
    head = ctypes.string_at(pointer, 1024)
    wanted = struct.pack("i", os.getpid())
    found = [at for at in range(0, len(head), 4) if head[at : at + 4] == wanted]
    return pointer + found[0] if len(found) == 1 else None


def mmap_anonymous(size: int, protection: int) -> int:
    """The address of new private memory, see mmap(2)."""
    _libc.mmap.restype = ctypes.c_void_p
    private_anonymous = 0x22
    address: int | None = _libc.mmap(
        None, ctypes.c_size_t(size), protection, private_anonymous, -1, 0
    )
    if address is None or address == 2**64 - 1:
        _check(-1)
    assert address is not None
    return address


def malloc(size: int) -> int:
    """The address of memory that is nobody's yet and never given back; 0 for none."""
    return _libc.malloc(ctypes.c_size_t(size)) or 0


# In the first word of an object: the count of its references, and a flag beside it that says the
# same since CPython 3.14, whose interpreter believes either. Of None both are as they should be.
_COUNT_BITS, _FLAG_BIT = 0xFFFF_FFFF, 1 << 48
_IMMORTAL = ctypes.c_uint64.from_address(id(None)).value & (_COUNT_BITS | _FLAG_BIT)


def make_immortal(one: object) -> None:
    """Give an object the count of those that never go, whatever refers to it.

    Source: PEP 683; Include/object.h and Include/refcount.h of CPython 3.12 to 3.14, without
    ``Py_GIL_DISABLED``, on little-endian machines.
    """
    word = ctypes.c_uint64.from_address(id(one))
    word.value = word.value & ~_COUNT_BITS | _IMMORTAL
