"""Layers: published, seen at /opt, merged in order, and kept for those who have them."""

from __future__ import annotations

import base64
import hashlib
import urllib.request

import pytest
from botocore.exceptions import ClientError
from scenario.package import zipped

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

LOOK = """
    import os

    def handler(event, context):
        seen = {}
        for directory, _, files in os.walk("/opt"):
            for name in files:
                path = os.path.join(directory, name)
                with open(path) as file:
                    seen[path] = [oct(os.stat(path).st_mode & 0o777), file.read()]
        return seen
"""
FACTS = """
    import os

    def attempt(deed, *arguments):
        try:
            deed(*arguments)
        except OSError as error:
            return os.strerror(error.errno)
        return "done"

    def handler(event, context):
        root = os.stat("/opt")
        return {
            "mode": oct(root.st_mode & 0o777),
            "owners": [root.st_uid == os.stat("/").st_uid, root.st_uid == os.getuid()],
            "write": attempt(open, "/opt/tool", "a"),
            "make": attempt(os.mkdir, "/opt/new"),
            "remove": attempt(os.unlink, "/opt/tool"),
        }
"""


@pytest.fixture
def publish(daemon):
    """Publishes versions of layers; their ARNs. They go with the test."""
    published = []

    def made(name, **files):
        content = {
            "ZipFile": zipped({path.replace("__", "/"): text for path, text in files.items()})
        }
        answer = daemon.client.publish_layer_version(LayerName=name, Content=content)
        published.append((name, answer["Version"]))
        return answer["LayerVersionArn"]

    yield made
    for name, version in published:
        daemon.client.delete_layer_version(LayerName=name, VersionNumber=version)


def test_a_function_sees_its_layers_one_over_the_other(deploy, invoke, publish):
    one = publish("one", lib__a="one", lib__b="one", bootstrap="one")
    two = publish("two", lib__b="two", python__c="two")
    seen = invoke(deploy(LOOK, Layers=[one, two])).payload
    assert seen == {
        "/opt/bootstrap": ["0o755", "one"],
        "/opt/lib/a": ["0o644", "one"],
        "/opt/lib/b": ["0o644", "two"],
        "/opt/python/c": ["0o644", "two"],
    }
    other_way = invoke(deploy(LOOK, Layers=[two, one])).payload
    assert other_way["/opt/lib/b"] == ["0o644", "one"]


def test_the_functions_of_others_see_nothing_of_it(deploy, invoke, publish):
    deploy(LOOK, Layers=[publish("mine", secret="x")])
    assert invoke(deploy(LOOK)).payload == {}


def test_layers_cannot_be_written_to(deploy, invoke, publish):
    facts = invoke(deploy(FACTS, Layers=[publish("fixed", tool="x")])).payload
    read_only = {facts.pop(deed) for deed in ("write", "make", "remove")}
    assert read_only <= {"Read-only file system", "Permission denied"}
    assert facts == {"mode": "0o755", "owners": [True, False]}


def test_new_layers_are_seen_after_an_update(daemon, deploy, invoke, publish):
    name = deploy(LOOK, Layers=[publish("first", a="1")])
    assert invoke(name).payload == {"/opt/a": ["0o644", "1"]}
    second = publish("second", b="2")
    daemon.client.update_function_configuration(FunctionName=name, Layers=[second])
    daemon.wait("function_updated_v2", name)
    assert invoke(name).payload == {"/opt/b": ["0o644", "2"]}
    daemon.client.update_function_configuration(FunctionName=name, Layers=[])
    daemon.wait("function_updated_v2", name)
    assert invoke(name).payload == {}


def test_the_zip_of_a_layer_can_be_had_again(daemon, publish):
    publish("zipped", a="1")
    version = daemon.client.list_layer_versions(LayerName="zipped")["LayerVersions"][0]["Version"]
    answer = daemon.client.get_layer_version(LayerName="zipped", VersionNumber=version)
    with urllib.request.urlopen(answer["Content"]["Location"]) as link:
        data = link.read()
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    assert (len(data), digest) == (answer["Content"]["CodeSize"], answer["Content"]["CodeSha256"])


def test_what_is_no_zip_is_no_layer(daemon):
    with pytest.raises(ClientError, match="Could not unzip uploaded file"):
        daemon.client.publish_layer_version(LayerName="bad", Content={"ZipFile": b"no zip"})
    assert daemon.client.list_layer_versions(LayerName="bad")["LayerVersions"] == []


def test_a_function_keeps_a_deleted_layer_also_after_a_restart(start):
    daemon = start()
    arns = [
        daemon.client.publish_layer_version(
            LayerName=name, Content={"ZipFile": zipped({name: name})}
        )["LayerVersionArn"]
        for name in ("a", "b")
    ]
    both, one = daemon.deploy(LOOK, Layers=arns), daemon.deploy(LOOK, Layers=arns[:1])
    for name in ("a", "b"):
        daemon.client.delete_layer_version(LayerName=name, VersionNumber=1)
    daemon.stop()
    daemon = start()
    assert set(daemon.invoke(both).payload) == {"/opt/a", "/opt/b"}
    assert set(daemon.invoke(one).payload) == {"/opt/a"}
    shown = daemon.client.get_function_configuration(FunctionName=both)["Layers"]
    assert [layer["Arn"] for layer in shown] == arns
    for name in (both, one):
        daemon.client.delete_function(FunctionName=name)
    daemon.stop()
    daemon = start()
    assert {path.name for path in (daemon.state_dir / "code").iterdir()} == {"staging"}
    answer = daemon.client.publish_layer_version(
        LayerName="a", Content={"ZipFile": zipped({"a": "a"})}
    )
    assert answer["Version"] == 2
