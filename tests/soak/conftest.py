"""What bombs, cycles and kills share: daemons of their own, a word about how far they have come."""

from __future__ import annotations

import os
import time

import pytest
from scenario.program import Program


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    """A daemon for one module: what is done to it here, no other test is to suffer from."""
    program = Program(tmp_path_factory.mktemp("soaked") / "state")
    yield program
    program.stop()


@pytest.fixture
def say(request, capsys):
    """Prints a line at once: a run of many thousand is watched."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")

    def said(text):
        with capsys.disabled():
            reporter.ensure_newline()
            reporter.write_line(f"{request.node.name}: {text}")

    return said


@pytest.fixture
def counted(say):
    """Numbers up to what a variable asks for; fewer when the time for them is over.

    ``LAMBDAD_SOAK_S`` says how many seconds that is.
    """

    def numbers(variable, default):
        wanted = int(os.environ.get(variable, default))
        last = time.monotonic() + float(os.environ.get("LAMBDAD_SOAK_S", "3000"))
        step = max(wanted // 20, 1)
        for number in range(wanted):
            if time.monotonic() > last:
                say(f"stops after {number} of {wanted}: its time is over")
                return
            if number and number % step == 0 and variable in os.environ:
                say(f"{number} of {wanted}")
            yield number

    return numbers
