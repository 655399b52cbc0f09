"""The stages of one test."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture
def stage(daemon):
    """Deploys functions whose runtimes and extensions are puppets."""
    from conformance.runtime_api.stage import Stage  # and with it AWS's client

    if shutil.which("python3", path="/usr/bin") is None:
        pytest.skip("there is no /usr/bin/python3 for puppets to run on")
    stages = []

    def deployed(*extensions, **settings):
        stages.append(Stage(daemon, extensions, **settings))
        return stages[-1]

    yield deployed
    for each in stages:
        each.close()
