"""What docs/extensions.md shows does what it says, in the order in which it says so."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import pytest
from scenario.package import add

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

TEXT = (Path(__file__).parents[2] / "docs/extensions.md").read_text()
(EXTENSION,) = re.findall(r"```\w+\n(#!/usr/bin/python3\n.*?)```", TEXT, re.DOTALL)
(BOOTSTRAP,) = re.findall(r"```\w+\n(#!/bin/sh\n.*?)```", TEXT, re.DOTALL)


def programs(**files):
    """A zip of executable files."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        for name, text in files.items():
            add(archive, name.replace("__", "/"), text, 0o755)
    return package.getvalue()


@pytest.fixture
def watcher(daemon):
    place = {"LayerName": "watcher"}
    content = {"ZipFile": programs(extensions__watcher=EXTENSION)}
    published = daemon.client.publish_layer_version(**place, Content=content)
    yield published["LayerVersionArn"]
    daemon.client.delete_layer_version(**place, VersionNumber=published["Version"])


def test_the_runtime_and_the_extension_of_the_manual_work(daemon, deploy, watcher):
    name = deploy(programs(bootstrap=BOOTSTRAP), Runtime="provided.al2023", Layers=[watcher])
    for number in range(2):
        assert daemon.invoke(name, {"n": number}).payload == {"echo": {"n": number}}
    daemon.client.update_function_configuration(FunctionName=name, Description="another")
    log = "".join(daemon.wait_for_log(name, "event SHUTDOWN spindown"))
    assert "TELEMETRY\tName: watcher\tState: Subscribed\tTypes: [Platform, Function]" in log
    assert "EXTENSION\tName: watcher\tState: Ready\tEvents: [INVOKE, SHUTDOWN]" in log
    assert log.count("event INVOKE") == 2
    assert "telemetry platform.report\n" in log
    assert 'got {"n": 1}' in log
