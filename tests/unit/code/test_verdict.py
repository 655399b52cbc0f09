"""What the unpacker says comes out as it went in; nonsense is no verdict."""

import errno

import pytest

from lambdad.code import verdict
from lambdad.code.archive import ArchiveTooLarge, BadArchive
from lambdad.code.verdict import NoVerdict
from lambdad.model.errors import PlatformFault
from lambdad_sandbox.errors import StepFailed


@pytest.mark.parametrize(
    "error",
    [
        BadArchive("it has no end record"),
        BadArchive(""),
        BadArchive("name 'é\\n' is  odd"),
        ArchiveTooLarge(2**63, 1_000),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
    ids=repr,
)
def test_an_error_comes_out_as_it_went_in(error):
    heard = verdict.read(verdict.refusal(error))
    assert (type(heard), str(heard)) == (type(error), str(error))


def test_what_cannot_be_confined_is_a_fault_of_the_platform():
    heard = verdict.read(verdict.refusal(StepFailed("make a network", errno.EPERM)))
    assert isinstance(heard, PlatformFault)
    assert "make a network: EPERM" in str(heard)


def test_success_is_no_error():
    assert verdict.read(verdict.UNPACKED) is None


def test_a_verdict_is_short_whatever_the_reason():
    said = verdict.CONFINED + verdict.refusal(BadArchive("\U0001f40d" * 100_000))
    assert len(said) < verdict.BYTES_MAX


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"unpacked",
        b"unpacked \n",
        b"unpacked\nunpacked\n",
        b"done\n",
        b"malformed \x1b[31m\n",
        b"malformed \xff\n",
        b"too-large\n",
        b"too-large 1\n",
        b"too-large -1 1\n",
        b"failed ENOSPC\n",
        b"failed \n",
    ],
)
def test_nonsense_is_no_verdict(said):
    with pytest.raises(NoVerdict):
        verdict.read(said)
