"""The child's side of a plan: apply its steps, in order, or say which one failed."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lambdad_sandbox.errors import StepFailed
from lambdad_sandbox.steps import Descriptors, Step


def run(steps: Sequence[Step], at_hand: Descriptors) -> None:
    """Apply all steps to this process.

    Raises:
        StepFailed: the first that failed; the process is to be given up.
    """
    for step in steps:
        try:
            step.apply(at_hand)
        except OSError as error:
            raise StepFailed(step.describe(), error.errno or 0) from error
        except (ValueError, AssertionError) as error:
            raise StepFailed(step.describe(), 22) from error


def run_or_report(steps: Sequence[Step], at_hand: Descriptors, report: int) -> None:
    """As ``run``; a failure is told on the control channel and ends the process."""
    try:
        run(steps, at_hand)
    except StepFailed as failed:
        import contextlib  # noqa: PLC0415  only a start that fails pays for these
        import socket  # noqa: PLC0415

        from lambdad_sandbox import channel, messages  # noqa: PLC0415

        end = socket.socket(fileno=report)
        with contextlib.suppress(OSError):  # Whoever asked for it may have given it up.
            channel.send(end, messages.SpawnFailed(failed.step, failed.number))
        os._exit(1)
