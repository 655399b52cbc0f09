"""Which functions find the operator's packages loaded."""

from dataclasses import replace
from pathlib import Path

import pytest

from lambdad.code.runtimes import Interpreter
from lambdad.invoke import packages
from lambdad.invoke.packages import Survey, is_installed, serves, survey
from lambdad.invoke.preloading import Preloading
from lambdad.model.errors import PlatformFault

LOADED = frozenset({"boto3", "botocore", "six", "queue"})
USES = Survey(frozenset({"app"}), frozenset({"boto3"}), steers=False)


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def looked_at(code, layers=None, variables=()):
    return survey(code, layers, ("boto3", "numpy"), variables)


# --- the rule -----------------------------------------------------------------------------


def test_who_uses_a_package_and_brings_nothing_of_its_name_is_served():
    assert serves(LOADED, USES)


@pytest.mark.parametrize("name", sorted(LOADED))
def test_who_brings_a_module_of_any_name_that_was_loaded_is_not(name):
    assert not serves(LOADED, replace(USES, modules=USES.modules | {name}))


def test_who_steers_where_modules_are_looked_for_is_not():
    assert not serves(LOADED, replace(USES, steers=True))


def test_who_does_not_use_it_is_not():
    """To it, what is loaded is but memory."""
    assert not serves(LOADED, replace(USES, used=frozenset()))


def test_where_the_package_could_not_be_loaded_nobody_is():
    assert not serves(frozenset(), USES)


# --- what a function brings ---------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["six.py", "six/__init__.py", "six.cpython-311-x86_64-linux-gnu.so", "six.pyc", "six/data"],
)
def test_modules_are_found_in_each_form(tmp_path, name):
    assert "six" in looked_at(write(tmp_path, {name: ""})).modules


@pytest.mark.parametrize("folder", ["python", "python/lib/python3.11/site-packages"])
def test_modules_of_layers_are_found(tmp_path, folder):
    code = write(tmp_path / "code", {"app.py": ""})
    layers = write(tmp_path / "layers", {f"{folder}/six.py": "import boto3"})
    assert {"app", "six"} <= looked_at(code, layers).modules
    assert looked_at(code, layers).used == {"boto3"}


def test_a_layer_without_python_brings_nothing(tmp_path):
    layers = write(tmp_path / "layers", {"bin/tool": "boto3"})
    assert looked_at(write(tmp_path / "code", {"app.py": ""}), layers) == Survey(
        frozenset({"app"}), frozenset(), steers=False
    )


@pytest.mark.parametrize(
    ("source", "used"),
    [
        ("import boto3", {"boto3"}),
        ("from boto3.session import Session", {"boto3"}),
        ("importlib.import_module('boto3')", {"boto3"}),
        ("import boto3, numpy", {"boto3", "numpy"}),
        ("import myboto3", set()),
        ("", set()),
    ],
)
def test_what_is_used_is_named_in_a_source(tmp_path, source, used):
    assert looked_at(write(tmp_path, {"deep/down/module.py": source})).used == used


def test_no_more_sources_are_read_than_that(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "_SOURCES_MAX", 2)
    write(tmp_path, dict.fromkeys(("a.py", "b.py", "c.py"), "import boto3"))
    assert looked_at(tmp_path).used == {"boto3"}
    write(tmp_path, dict.fromkeys(("a.py", "b.py", "c.py"), ""))
    monkeypatch.setattr(packages, "_SOURCES_MAX", 0)
    assert looked_at(tmp_path).used == set()


@pytest.mark.parametrize("variables", [(), ("HOMEPAGE",)])
def test_most_variables_do_not_steer(tmp_path, variables):
    assert not looked_at(tmp_path, variables=variables).steers


@pytest.mark.parametrize("variable", ["PYTHONPATH", "HOME", "OPENSSL_CONF", "OPENSSL_MODULES"])
def test_a_variable_that_is_read_at_an_import_steers(tmp_path, variable):
    assert looked_at(tmp_path, variables=("OTHER", variable)).steers


@pytest.mark.parametrize("names_it", ["sys.path.insert(0, 'lib')", "site.addsitedir('lib')"])
def test_modules_anywhere_count_where_a_source_says_where_to_look(tmp_path, names_it):
    write(tmp_path, {"lib/six/__init__.py": "", "deep/down/queue.py": "", "app.py": "import lib"})
    assert looked_at(tmp_path).modules == {"app", "lib", "deep"}
    write(tmp_path, {"app.py": names_it})
    assert {"app", "six", "queue"} <= looked_at(tmp_path).modules


@pytest.mark.parametrize("archive", [".requirements.zip", "lib/x.egg", "x.whl"])
def test_an_archive_steers_where_a_source_says_where_to_look(tmp_path, archive):
    write(tmp_path, {archive: "", "app.py": "sys.pathology"})
    assert not looked_at(tmp_path).steers
    write(tmp_path, {"app.py": "sys.path"})
    assert looked_at(tmp_path).steers


def test_who_brings_a_path_file_steers(tmp_path):
    assert looked_at(write(tmp_path, {"x.pth": "/tmp"})).steers


def test_a_link_out_of_a_layer_steers_and_is_not_followed(tmp_path):
    code = write(tmp_path / "code", {"app.py": ""})
    write(tmp_path / "elsewhere", {"six.py": "import boto3"})
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers/python").symlink_to(tmp_path / "elsewhere")
    assert looked_at(code, tmp_path / "layers") == Survey(
        frozenset({"app"}), frozenset(), steers=True
    )


def test_a_source_that_is_a_link_is_not_read(tmp_path):
    write(tmp_path, {"elsewhere": "import boto3", "code/app.txt": ""})
    (tmp_path / "code/app.py").symlink_to(tmp_path / "elsewhere")
    assert looked_at(tmp_path / "code").used == set()


@pytest.mark.parametrize(
    "folder",
    ["lib/python3.11/site-packages", "lib/python3/dist-packages"],
)
def test_a_package_is_where_interpreters_have_theirs(tmp_path, folder):
    assert not is_installed("boto3", tmp_path, "3.11")
    write(tmp_path, {f"{folder}/boto3/__init__.py": ""})
    assert is_installed("boto3", tmp_path, "3.11")
    assert not is_installed("boto3", tmp_path, "3.10") or "dist" in folder
    assert not is_installed("../boto3", tmp_path, "3.11")


# --- what is remembered -------------------------------------------------------------------


class Zygotes:
    """Starts none, and counts how often one was wanted."""

    def __init__(self):
        self.wanted, self.loaded, self.refusal = [], LOADED, None

    async def of(self, interpreter, packages):
        self.wanted.append(packages)
        if self.refusal is not None:
            raise self.refusal
        return self


@pytest.fixture
def zygotes():
    return Zygotes()


@pytest.fixture
def python(tmp_path):
    """An interpreter that has boto3."""
    write(tmp_path / "prefix", {"lib/python3.11/site-packages/boto3/__init__.py": ""})
    return Interpreter("3.11", tmp_path / "prefix", Path("/usr/bin/python3.11"))


@pytest.fixture
def considered(tmp_path, zygotes, python, stage):
    """Makes a function ready whose code is this, and tells what its zygote has loaded."""

    async def found(allowed, source, **values):
        code = write(tmp_path / "code", {"app.py": source})
        preloading = Preloading(allowed, zygotes)
        function = stage.function(runtime="python3.11", **values)
        assert preloading.packages_for(function) == ()
        await preloading.consider(function, python, code, None)
        await preloading.consider(function, python, code, None)
        return preloading.packages_for(function)

    return found


@pytest.mark.asyncio
async def test_who_uses_a_package_is_served_by_who_has_it(considered, zygotes):
    assert await considered(("boto3",), "import boto3") == ("boto3",)
    assert zygotes.wanted == [("boto3",)]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("allowed", "source"),
    [(("boto3",), "import json"), ((), "import boto3"), (("",), "import boto3"),
     (("numpy",), "import numpy")],
)  # fmt: skip
async def test_no_zygote_is_started_that_nobody_wants(considered, zygotes, allowed, source):
    assert await considered(allowed, source) == ()
    assert zygotes.wanted == []


@pytest.mark.asyncio
async def test_who_sets_a_path_has_another_answer(considered, zygotes):
    assert await considered(("boto3",), "import boto3", environment={"PYTHONPATH": "/x"}) == ()


@pytest.mark.asyncio
async def test_without_that_zygote_the_plain_one_serves(considered, zygotes):
    zygotes.refusal = PlatformFault("cannot")
    assert await considered(("boto3",), "import boto3") == ()
