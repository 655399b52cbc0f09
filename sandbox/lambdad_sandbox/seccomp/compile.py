"""A policy for system calls, compiled to the BPF program that seccomp(2) takes.

The kernel runs a new filter once for each call number to learn which are always allowed, so a
list is slow to load and a tree is not: numbers become ranges, ranges a binary search tree, and
what depends on arguments is asked at its leaves. Applying the program is the caller's deed.

A policy is plain data, see policy.json:

    allow    groups of names; the call is made
    refuse   groups of names with the errno they get
    ask      names whose arguments decide: the first case of which all tests hold, else "else"

A test compares the low 32 bits of one argument, under a mask, with named values. That is all
the kernel looks at in the arguments asked about here, which are ints. Every other number gets
ENOSYS, on which libraries fall back; they do not on EPERM. What comes by way of another
architecture, or of x32, is killed: its numbers mean something else.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from typing import Any

from lambdad_sandbox.seccomp.arch import Architecture, this_machine

# linux/seccomp.h
RET_KILL_PROCESS, RET_ERRNO, RET_ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16  # offsets in struct seccomp_data

# linux/bpf_common.h
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP, _JUMP_EQUAL, _JUMP_AT_LEAST = 0x05, 0x15, 0x35
_FAR = 255  # the reach of a conditional jump
_INSTRUCTIONS_MAX = 4096

_X32_FIRST, _X32_END = 0x40000000, 0x80000000

# Code, jump if true, jump if false, operand: struct sock_filter.
Instruction = tuple[int, int, int, int]
Code = list[Instruction]


def load() -> bytes:
    """The project's own policy for this machine: an array of struct sock_filter.

    Raises:
        NotImplementedError: this architecture has no table of system calls.
    """
    import json  # noqa: PLC0415  a zygote that was given its filter never reads the policy
    from pathlib import Path  # noqa: PLC0415  as above

    text = Path(__file__).with_name("policy.json").read_text(encoding="utf-8")
    return compile_policy(json.loads(text), this_machine())


def compile_policy(policy: Mapping[str, Any], arch: Architecture) -> bytes:
    """Compile ``policy`` for ``arch``: an array of struct sock_filter, see seccomp(2).

    Raises:
        ValueError: the policy decides a call twice, or the program is too long.
    """
    ranges = _ranges(_verdicts(policy), arch)
    code = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_JUMP_EQUAL, 1, 0, arch.audit),
        (_RETURN, 0, 0, RET_KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
        *_tree(ranges),
    ]
    if len(code) > _INSTRUCTIONS_MAX:
        raise ValueError(f"cannot load {len(code)} instructions: {_INSTRUCTIONS_MAX} are the most")
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


def _verdicts(policy: Mapping[str, Any]) -> dict[str, Code]:
    """What is done at each name, as code that ends in returns."""
    decided = [(name, _return("ALLOW")) for group in policy["allow"] for name in group["names"]]
    for group in policy["refuse"]:
        decided += [(name, _return(group["then"])) for name in group["names"]]
    for question in policy["ask"]:
        decided += [(name, _ask(question)) for name in question["names"]]
    verdicts = dict(decided)
    if len(verdicts) < len(decided):
        names = [name for name, _ in decided]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"cannot decide twice on {', '.join(twice)}")
    return verdicts


def _return(verdict: str) -> Code:
    value = RET_ALLOW if verdict == "ALLOW" else RET_ERRNO | getattr(errno, verdict)
    return [(_RETURN, 0, 0, value)]


def _ask(question: Mapping[str, Any]) -> Code:
    code: Code = []
    for case in question["cases"]:
        code += _case(case)
    return code + _return(question["else"])


def _case(case: Mapping[str, Any]) -> Code:
    """Return ``then`` when each test holds; go on behind this code when one does not."""
    code = _return(case["then"])
    for test in reversed(case["tests"]):
        code = _test(test, code)
    return code


def _test(test: Mapping[str, Any], held: Code) -> Code:
    """Run ``held`` when the argument has one of the values, skip it otherwise."""
    code: Code = [(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * test["argument"])]
    if "mask" in test:
        code.append((_AND, 0, 0, int(test["mask"], 0)))
    values = [int(value, 0) for value in test["is"].values()]
    last = len(values) - 1
    for i, value in enumerate(values):
        code.append((_JUMP_EQUAL, last - i, 0 if i < last else len(held), value))
    return code + held


def _ranges(verdicts: Mapping[str, Code], arch: Architecture) -> list[tuple[int, Code]]:
    """Every number there is, as first numbers of ranges that are treated alike."""
    unknown = _return("ENOSYS")
    by_number = {arch.numbers[name]: verdicts[name] for name in verdicts if name in arch.numbers}
    starts = [(number, by_number.get(number, unknown)) for number in range(max(by_number) + 2)]
    if arch.x32:
        starts += [(_X32_FIRST, [(_RETURN, 0, 0, RET_KILL_PROCESS)]), (_X32_END, unknown)]
    return [start for i, start in enumerate(starts) if i == 0 or start[1] != starts[i - 1][1]]


def _tree(ranges: list[tuple[int, Code]]) -> Code:
    """Find the number's range by halving; the number is in the accumulator."""
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    below, above = _tree(ranges[:middle]), _tree(ranges[middle:])
    first_above = ranges[middle][0]
    if len(below) <= _FAR:
        return [(_JUMP_AT_LEAST, len(below), 0, first_above), *below, *above]
    return [(_JUMP_AT_LEAST, 0, 1, first_above), (_JUMP, 0, 0, len(below)), *below, *above]
