"""LIF, where environments are clones: an init that cannot be stopped holds up nobody."""

from __future__ import annotations

import time

import pytest
from scenario.program import START_S_MAX
from scenario.snapshots import deploy, keepers, publish, published

pytestmark = [pytest.mark.root, pytest.mark.cgroup, pytest.mark.slow]

# Sleeps where no signal wakes it but the last, in vfork(2); its child asks to be restored.
HELD = """
    import ctypes, os, socket, struct

    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]

    if os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start":
        host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
        end = socket.create_connection((host, int(port)))
        words = b"GET /2018-06-01/runtime/restore/next HTTP/1.1\\r\\nHost: any\\r\\n\\r\\n"
        at = libc.mmap(None, 4096, 7, 0x22, -1, 0)
        ctypes.memmove(at + 1024, words, len(words))
        # mov eax, 58 (vfork); syscall; test eax, eax; jz child; ret; child: mov eax, 1 (write);
        # mov edi, end; mov rsi, words; mov edx, length; syscall;
        # again: mov eax, 34 (pause); syscall; jmp again
        code = bytes.fromhex("b83a0000000f0585c07401c3b801000000bf")
        code += struct.pack("<IH", end.fileno(), 0xBE48) + struct.pack("<Q", at + 1024)
        code += b"\\xba" + struct.pack("<I", len(words)) + bytes.fromhex("0f05b8220000000f05ebf7")
        ctypes.memmove(at, code, len(code))
        ctypes.CFUNCTYPE(ctypes.c_int)(at)()

    def handler(event, context):
        return event
"""
PLAIN = "def handler(event, context): return event"


def test_lif_6_an_init_that_cannot_be_stopped_is_ended_and_holds_up_nobody(start):
    program = start("--spares", "0")
    held = deploy(program, HELD)
    version = program.client.publish_version(FunctionName=held)["Version"]
    others = [published(program, PLAIN) for _ in range(2)]
    assert [program.invoke(name, 1).payload for name in others] == [1, 1]
    said = wait_until_settled(program, held, version)
    assert said["State"] == "Failed", said
    assert "cannot suspend the template" in said["StateReason"]
    assert publish(program, others[0].partition(":")[0])["State"] == "Active"
    last = time.monotonic() + START_S_MAX
    while len(keepers(program)) > len(others):
        assert time.monotonic() < last, "its keeper stays"
        time.sleep(0.01)


def wait_until_settled(program, name, version):
    last = time.monotonic() + 2 * START_S_MAX
    while True:
        wanted = {"FunctionName": name, "Qualifier": version}
        said = program.client.get_function_configuration(**wanted)
        if said["State"] != "Pending":
            return said
        assert time.monotonic() < last, "it stays Pending"
        time.sleep(0.05)
