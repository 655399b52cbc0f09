"""Packages that are loaded ahead: who uses them has them at once, who has his own keeps it."""

from __future__ import annotations

from textwrap import dedent

import pytest
from scenario.package import zipped

from lambdad.code.runtimes import own_interpreter
from lambdad.invoke.packages import is_installed

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

# What was loaded before the module was: no name of the package stands in it alone.
USES = """
    import sys
    ahead = {"botocore", "urllib3"} <= set(sys.modules)
    import boto3

    def handler(event, context):
        client = boto3.client("s3", region_name="eu-west-1")
        return [ahead, boto3.__file__, client.meta.region_name]
"""
DOES_NOT = """
    import sys

    def handler(event, context):
        return "botocore" in sys.modules
"""
OWN = """
    import sys
    ahead = "botocore" in sys.modules
    import boto3

    def handler(event, context):
        return [ahead, boto3.WHOSE]
"""


@pytest.fixture(scope="module", autouse=True)
def _installed():
    used = own_interpreter()
    if not is_installed("boto3", used.prefix, used.version):
        pytest.skip("the Python that functions run under has no boto3")


def test_who_uses_a_package_finds_it_loaded_and_working(deploy, invoke):
    ahead, path, region = invoke(deploy(USES)).payload
    assert ahead
    assert path.startswith("/var/lang/")
    assert region == "eu-west-1"


def test_who_does_not_use_it_does_not_carry_it(deploy, invoke):
    assert invoke(deploy(DOES_NOT)).payload is False


@pytest.mark.parametrize("name", ["boto3.py", "boto3/__init__.py"])
def test_who_brings_one_of_that_name_has_its_own(deploy, invoke, name):
    package = {"lambda_function.py": OWN, name: "WHOSE = 'mine'\n"}
    assert invoke(deploy(package)).payload == [False, "mine"]


def test_who_brings_what_the_package_needs_has_its_own(deploy, invoke):
    package = {"lambda_function.py": USES, "urllib3.py": "raise ImportError('mine')\n"}
    assert "mine" in invoke(deploy(package)).payload["errorMessage"]


def test_one_of_a_layer_comes_first(daemon, deploy, invoke):
    content = {"ZipFile": zipped({"python/boto3.py": "WHOSE = 'of a layer'\n"})}
    layer = daemon.client.publish_layer_version(LayerName="boto3", Content=content)
    try:
        name = deploy(OWN, Layers=[layer["LayerVersionArn"]])
        assert invoke(name).payload == [False, "of a layer"]
    finally:
        daemon.client.delete_layer_version(LayerName="boto3", VersionNumber=layer["Version"])


def test_one_that_a_source_looks_for_elsewhere_is_found_there(deploy, invoke):
    elsewhere = f'import sys\nsys.path.insert(0, "/var/task/vendored")\n{dedent(OWN)}'
    package = {"lambda_function.py": elsewhere, "vendored/boto3.py": "WHOSE = 'vendored'\n"}
    assert invoke(deploy(package)).payload == [False, "vendored"]


STATE = """
    import multiprocessing, os, sys
    import boto3, botocore.loaders

    def handler(event, context):
        models = botocore.loaders.Loader.CUSTOMER_DATA_PATH
        return {
            "key": multiprocessing.current_process().authkey.hex(),
            "main": sys.modules["__mp_main__"] is sys.modules["__main__"],
            "home": models == os.path.join(os.path.expanduser("~"), ".aws", "models"),
        }
"""


def test_what_a_package_has_made_at_its_import_is_the_functions_own(deploy, invoke):
    one, other = (invoke(deploy(STATE)).payload for _ in range(2))
    assert one.pop("key") != other.pop("key")
    assert one == other == {"main": True, "home": True}


@pytest.mark.parametrize("home", ["/tmp", "/tmp/mine"])
def test_a_home_of_ones_own_is_what_the_package_knows(deploy, invoke, home):
    assert invoke(deploy(STATE, Environment={"Variables": {"HOME": home}})).payload["home"]
