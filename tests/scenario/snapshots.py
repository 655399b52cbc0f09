"""Versions with SnapStart: how they are published, and what a template is made of, from outside."""

from __future__ import annotations

import time
from typing import Any

import psutil
import pytest
from scenario.program import START_S_MAX, Code, Program, fields_of

from lambdad.code.runtimes import find_python


def deploy(program: Program, code: Code, **settings: Any) -> str:
    """A function with SnapStart, of which nothing is published; its name."""
    found = next(filter(find_python, ("3.14", "3.13", "3.12")), None)
    if found is None:
        pytest.skip("there is no Python here that SnapStart is for: 3.12 or later")
    on = {"ApplyOn": "PublishedVersions"}
    return program.deploy(code, **{"Runtime": f"python{found}", "SnapStart": on, **settings})


def publish(program: Program, name: str) -> dict[str, Any]:
    """Publish the next version; its configuration, once it is not Pending any more."""
    version = program.client.publish_version(FunctionName=name)["Version"]
    last = time.monotonic() + START_S_MAX
    while True:
        said: dict[str, Any] = program.client.get_function_configuration(
            FunctionName=name, Qualifier=version
        )
        if said["State"] != "Pending":
            return said
        assert time.monotonic() < last, "the version stays Pending"
        time.sleep(0.01)


def published(program: Program, code: Code, **settings: Any) -> str:
    """The qualified name of a version whose environments are clones."""
    name = deploy(program, code, **settings)
    said = publish(program, name)
    assert (said["State"], said.get("StateReason")) == ("Active", None), said
    return f"{name}:{said['Version']}"


def keepers(program: Program) -> list[psutil.Process]:
    """The keepers of templates: what a zygote has forked into no other pid namespace."""
    found = []
    for zygote in psutil.Process(program.process.pid).children():
        levels = len(fields_of(zygote.pid).get("NSpid", "").split())
        children = [(child, fields_of(child.pid).get("NSpid", "")) for child in zygote.children()]
        found += [child for child, inside in children if len(inside.split()) == levels]
    return found
