"""The sandbox's modules run under every interpreter that a function may want."""

import subprocess

import pytest

from lambdad.code.runtimes import find_python
from lambdad_sandbox.machinery import copy_machinery

MODULES = ("messages", "steps", "plan", "enter", "init", "zygote", "channel", "seccomp.compile")
TRY = """
import sys
sys.path.insert(0, {machinery!r})
import importlib
for name in {modules!r}:
    importlib.import_module("lambdad_sandbox." + name)
from lambdad_sandbox import messages, steps
message = messages.ProcessExited("runtime", 9)
assert messages.decode(messages.encode(message)) == message
step = steps.Listen("127.0.0.1", 9001)
assert steps.unpack(steps.pack([step])) == [step]
print(sys.modules["msgpack"].__file__, *sorted(name.partition(".")[0] for name in sys.modules))
"""


@pytest.fixture(scope="module")
def machinery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machinery") / "machinery"
    copy_machinery(str(folder))
    return folder


def test_the_copy_holds_sources_only(machinery):
    names = [path.name for path in machinery.rglob("*")]
    assert "__pycache__" not in names
    assert "zygote.py" in names
    assert (machinery / "__main__.py").exists()
    assert (machinery / "lambdad_sandbox/seccomp/policy.json").exists()


def test_a_copy_is_never_mixed_with_what_was_there(machinery):
    with pytest.raises(FileExistsError):
        copy_machinery(str(machinery))


@pytest.mark.parametrize("minor", range(9, 15))
def test_every_module_runs_under_this_interpreter(machinery, minor):
    interpreter = find_python(f"3.{minor}")
    if interpreter is None:
        pytest.skip(f"there is no python3.{minor} here")
    ran = subprocess.run(
        [interpreter.executable, "-I", "-S", "-B", "-W", "error", "-c",
         TRY.format(machinery=str(machinery), modules=MODULES)],
        capture_output=True, check=False, text=True, timeout=60, env={},
    )  # fmt: skip
    assert ran.stderr == ""
    assert ran.returncode == 0
    msgpack, *loaded = ran.stdout.split()
    assert msgpack.startswith(str(machinery))
    assert not {"asyncio", "aiohttp", "lambdad", "pathlib"} & set(loaded)
