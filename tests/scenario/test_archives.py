"""The corpus of crooked zips, uploaded by AWS's client: its errors, and nothing is left behind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import zip_corpus
from botocore.exceptions import ClientError
from scenario.package import zipped
from scenario.program import OWN_RUNTIME

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

MALFORMED = "Could not unzip uploaded file. Please check your file, then try to upload again."
TOO_LARGE = "Unzipped size must be smaller than 262144000 bytes"
MIB = 1024 * 1024


def refusal(daemon, package):
    """The code and text with which a package is refused; the disk is as it was."""
    before = on_disk(daemon)
    with pytest.raises(ClientError) as refused:
        daemon.client.create_function(
            FunctionName="never",
            Runtime=OWN_RUNTIME,
            Role="arn:aws:iam::123456789012:role/any",
            Handler="lambda_function.handler",
            Code={"ZipFile": package},
        )
    assert on_disk(daemon) == before
    error = refused.value.response["Error"]
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return error["Code"], error["Message"]


def on_disk(daemon):
    return sorted(path.name for path in (daemon.state_dir / "code").glob("**/*"))


def peak_mb(daemon):
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def forget_peak(daemon):
    """See clear_refs in proc(5)."""
    Path(f"/proc/{daemon.process.pid}/clear_refs").write_text("5")


@pytest.mark.parametrize("name", zip_corpus.REFUSED)
def test_what_is_malformed_is_refused_and_leaves_nothing(daemon, name):
    package = zip_corpus.REFUSED[name]()
    assert refusal(daemon, package) == ("InvalidParameterValueException", MALFORMED)


@pytest.mark.parametrize("name", zip_corpus.TOO_LARGE)
def test_what_is_too_large_is_refused_and_costs_the_daemon_no_memory(daemon, name):
    package = zip_corpus.TOO_LARGE[name]()
    forget_peak(daemon)
    before = peak_mb(daemon)
    assert refusal(daemon, package) == ("InvalidParameterValueException", TOO_LARGE)
    assert peak_mb(daemon) - before < 10 + 10 * len(package) / MIB


def test_a_bomb_that_is_inflated_costs_the_daemon_no_memory(daemon):
    # It declares what is allowed, and only its last byte is wrong: so all of it is inflated.
    size = zip_corpus.UNZIPPED_BYTES_MAX - 100
    bomb = zip_corpus.zeros("zeros", size)
    bomb.crc ^= 1
    forget_peak(daemon)
    before = peak_mb(daemon)
    told = refusal(daemon, zip_corpus.with_handler(bomb))
    assert told == ("InvalidParameterValueException", MALFORMED)
    assert peak_mb(daemon) - before < 20


@pytest.mark.parametrize("name", zip_corpus.ACCEPTED)
def test_what_only_looks_bad_is_deployed_and_runs(deploy, invoke, name):
    function = deploy(zip_corpus.ACCEPTED[name]())
    assert invoke(function, {"well": name}).payload == {"well": name}


def test_after_all_of_it_the_daemon_serves(daemon, deploy, invoke):
    assert list((daemon.state_dir / "code/staging").iterdir()) == []
    function = deploy(zipped("def handler(event, context): return event"))
    assert invoke(function, "well").payload == "well"
