"""API-1 and API-2: archives are bounded, and write nowhere else."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib

import pytest
from botocore.exceptions import ClientError
from promises.doors import ECHO, creation, refusal
from scenario.package import add, zipped

MIB = 1024 * 1024


# --- API-1: archives are bounded ---


def bomb(size, declared=None):
    """A zip of one file of zeros; its directory may lie about how many."""
    package = io.BytesIO()
    with (
        zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("zeros", "w") as file,
    ):
        for _ in range(size // MIB):
            file.write(bytes(MIB))
    content = package.getvalue()
    if declared is not None:
        content = content.replace(size.to_bytes(4, "little"), declared.to_bytes(4, "little"))
    return content


def overlapping():
    """Many entries of the directory that point to the same compressed bytes."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0000", bytes(8 * MIB))
        (first,) = archive.infolist()
        for number in range(1, 60):
            twin = zipfile.ZipInfo(f"{number:04}")
            for name in ("CRC", "compress_size", "file_size", "header_offset", "compress_type"):
                setattr(twin, name, getattr(first, name))
            archive.filelist.append(twin)
            archive._didModify = True
    return package.getvalue()


def many_entries():
    """One more than a zip can count without its later extensions."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_STORED) as archive:
        for number in range(65_536):
            archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
    return package.getvalue()


@pytest.mark.parametrize(
    "make",
    [lambda: bomb(256 * MIB), lambda: bomb(256 * MIB, declared=MIB), overlapping, many_entries],
    ids=["bomb", "bomb that lies", "overlapping", "entries"],
)
def test_api_1_an_archive_that_is_a_bomb_is_refused(daemon, make):
    trees = sorted((daemon.state_dir / "code").iterdir())
    told = refusal(daemon.client.create_function, **creation(make()))
    assert told == ("InvalidParameterValueException", 400)
    assert sorted((daemon.state_dir / "code").iterdir()) == trees
    assert list((daemon.state_dir / "code/staging").iterdir()) == []


@pytest.mark.parametrize(
    "package",
    [b"no zip", b"PK\x03\x04", zipped(ECHO)[:-10], zipped(ECHO)[10:], zlib.compress(bytes(99))],
    ids=["text", "signature", "cut", "no start", "zlib"],
)
def test_api_1_an_archive_that_is_none_is_refused(daemon, package):
    told = refusal(daemon.client.create_function, **creation(package))
    assert told == ("InvalidParameterValueException", 400)


# --- API-2: archives never write outside ---


def with_entries(*entries):
    """A working function, and entries by name, content and mode."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        add(archive, "lambda_function.py", READER, 0o644)
        for name, content, mode in entries:
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, mode << 16
            archive.writestr(entry, content)
    return package.getvalue()


READER = """
    import os, stat

    def handler(event, context):
        found = {}
        for folder, _, names in os.walk("/var/task"):
            for name in names:
                path = f"{folder}/{name}"
                found[path] = [stat.S_IFMT(os.lstat(path).st_mode), os.lstat(path).st_mode & 0o7777]
        return found
"""
LINK, FILE = 0o120777, 0o100644


@pytest.mark.parametrize(
    "entries",
    [
        [("../" * depth + "lambdad-escaped", "", FILE) for depth in range(1, 12)],
        [("STATE/lambdad-escaped", "", FILE)],
        [("a/../../lambdad-escaped", "", FILE)],
        [("..\\lambdad-escaped", "", FILE)],
        [("way", "STATE", LINK), ("way/lambdad-escaped", "", FILE)],
        [("way", "../..", LINK), ("way/lambdad-escaped", "", FILE)],
        [("way", ".", LINK), ("way/up", "../..", LINK), ("up/lambdad-escaped", "", FILE)],
        [("way", "/etc/passwd", LINK)],
        [("way", "../" * 20 + "etc/passwd", LINK)],
        [("device", "", stat.S_IFCHR | 0o666)],
        [("pipe", "", stat.S_IFIFO | 0o666)],
        [("nul\0byte", "", FILE)],
        [("long" * 100, "", FILE)],
        [("file", "", FILE), ("file/below", "", FILE)],
    ],
    ids=[
        "up", "absolute", "through", "backslash", "link", "link up", "links", "link to a file",
        "link far up", "device", "pipe", "nul", "long", "file and folder",
    ],
)  # fmt: skip
def test_api_2_an_archive_writes_nothing_outside(daemon, invoke, entries):
    """Refused, or unpacked without what leads out."""
    state = str(daemon.state_dir.parent)
    entries = [(name.replace("STATE", state), text.replace("STATE", state), mode)
               for name, text, mode in entries]  # fmt: skip
    try:
        name = daemon.deploy(with_entries(*entries))
    except ClientError as error:
        outcome = error.response["Error"]["Code"]
    else:
        kinds = {kind for kind, _ in invoke(name).payload.values()}
        outcome = "unpacked" if kinds == {stat.S_IFREG} else f"unpacked: {kinds}"
        daemon.client.delete_function(FunctionName=name)
    assert outcome in {"InvalidParameterValueException", "unpacked"}
    for above in (daemon.state_dir, *daemon.state_dir.parents):
        assert not (above / "lambdad-escaped").exists()
    assert not [path for path in daemon.state_dir.rglob("lambdad-escaped") if path.is_file()]


def test_api_2_an_archive_brings_no_special_modes(daemon, deploy, invoke):
    name = deploy(with_entries(("setuid", "", 0o106755), ("open", "", 0o100777)))
    modes = {path: mode for path, (_, mode) in invoke(name).payload.items()}
    assert modes["/var/task/setuid"] == modes["/var/task/open"] == 0o755
    assert modes["/var/task/lambda_function.py"] == 0o644
