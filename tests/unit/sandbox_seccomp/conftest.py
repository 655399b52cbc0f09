"""A BPF machine and a disassembler, written from the kernel's documentation, not from the compiler.

Source: https://docs.kernel.org/networking/filter.html
"""

from __future__ import annotations

import errno
import json
import struct
from pathlib import Path

import pytest

from lambdad_sandbox.seccomp import compile as seccomp_compile
from lambdad_sandbox.seccomp.arch import ARCHITECTURES

ACTIONS = {0x80000000: "KILL_PROCESS", 0x7FFF0000: "ALLOW"}
JUMPS = {0x15: "equal ", 0x35: "least "}


def instructions(program):
    return list(struct.iter_unpack("=HBBI", program))


def action(value):
    if value >> 16 == 0x0005:
        return errno.errorcode[value & 0xFFFF]
    return ACTIONS[value]


def run_program(program, number, arguments=(), audit=ARCHITECTURES["x86_64"].audit):
    """What the kernel does on a system call, and after how many instructions it knows."""
    padded = [argument & 2**64 - 1 for argument in arguments] + [0] * (6 - len(arguments))
    data = struct.pack("<IIQ6Q", number & 2**32 - 1, audit, 0, *padded)
    code = instructions(program)
    at = accumulator = 0
    for steps in range(1, 4097):
        operation, if_true, if_false, operand = code[at]
        at += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("<I", data, operand)[0]
        elif operation == 0x54:
            accumulator &= operand
        elif operation == 0x15:
            at += if_true if accumulator == operand else if_false
        elif operation == 0x35:
            at += if_true if accumulator >= operand else if_false
        elif operation == 0x05:
            at += operand
        elif operation == 0x06:
            return action(operand), steps
        else:
            raise AssertionError(f"no such operation: {operation:#x}")
    raise AssertionError("no end")


def disassemble_program(program):
    """One line an instruction, with the targets of jumps as line numbers."""
    lines = []
    for at, (operation, if_true, if_false, operand) in enumerate(instructions(program)):
        true, false = at + 1 + if_true, at + 1 + if_false
        if operation == 0x20:
            text = f"load   [{operand}]"
        elif operation == 0x54:
            text = f"and    {operand:#x}"
        elif operation == 0x05:
            text = f"jump   {at + 1 + operand}"
        elif operation == 0x06:
            text = f"return {action(operand)}"
        else:
            text = f"{JUMPS[operation]} {operand:#x} ? {true} : {false}"
        lines.append(f"{at:4d}  {text}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def run():
    return run_program


@pytest.fixture(scope="session")
def disassemble():
    return disassemble_program


@pytest.fixture(scope="session")
def policy():
    path = Path(seccomp_compile.__file__).with_name("policy.json")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def programs(policy):
    """The project's policy, compiled for each architecture."""
    return {
        name: seccomp_compile.compile_policy(policy, arch) for name, arch in ARCHITECTURES.items()
    }


@pytest.fixture(scope="session")
def ask(programs):
    """The policy's answer to a call by name, on x86_64."""

    def answer(name, *arguments):
        number = ARCHITECTURES["x86_64"].numbers[name]
        return run_program(programs["x86_64"], number, arguments)[0]

    return answer
