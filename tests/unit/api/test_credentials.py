import os
import re
import stat

import pytest
from botocore.configloader import load_config

from lambdad.api import credentials
from lambdad.api.credentials import NoCredentials


@pytest.fixture
def write(tmp_path):
    def made(text, mode=0o600):
        path = tmp_path / "credentials"
        path.write_text(text)
        path.chmod(mode)
        return path

    return made


def test_every_profile_may_sign(write):
    path = write(
        "[default]\naws_access_key_id = AKIAONE\naws_secret_access_key = a%b=c/+\n\n"
        "# a comment\n[profile other]\nregion=eu-west-1\n"
        "[temporary]\naws_access_key_id=ASIATWO\naws_secret_access_key=s\naws_session_token=t\n"
    )
    keys = credentials.load(path)
    assert {name: (key.secret, key.session_token) for name, key in keys.items()} == {
        "AKIAONE": ("a%b=c/+", None),
        "ASIATWO": ("s", "t"),
    }


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620])
def test_what_others_can_reach_is_not_trusted(write, mode):
    path = write("[default]\naws_access_key_id=a\naws_secret_access_key=s3cret\n", mode)
    with pytest.raises(NoCredentials, match=rf"cannot trust {path}: .* Use chown and chmod 600"):
        credentials.load(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[default]\n",
        "[default]\naws_secret_access_key=s3cret\n",
        "[default]\naws_access_key_id=a\naws_secret_access_key=\n",
        "aws_secret_access_key=s3cret\n",
        "[default]\ns3cret\n",
        "[default]\n[default]\ns3cret=1",
    ],
)
def test_a_file_without_keys_is_refused_and_not_quoted(write, text):
    with pytest.raises(NoCredentials) as refused:
        credentials.load(write(text))
    shown = f"{refused.value}{refused.value.__cause__}"
    assert shown.startswith("cannot ")
    assert "s3cret" not in shown


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(NoCredentials, match=r"cannot read .*: No such file"):
        credentials.load(tmp_path / "none")


def test_a_key_that_is_made_is_the_owners_alone_and_read_by_aws_clients(tmp_path):
    path = tmp_path / "credentials"
    credentials.make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    [(name, key)] = credentials.load(path).items()
    assert re.fullmatch("AKIA[A-Z2-7]{16}", name)
    assert len(key.secret) == 40
    profile = load_config(os.fspath(path))["profiles"]["default"]
    assert (profile["aws_access_key_id"], profile["aws_secret_access_key"]) == (name, key.secret)


def test_a_key_is_never_made_over_another(tmp_path):
    path = tmp_path / "credentials"
    credentials.make(path)
    before = path.read_bytes()
    with pytest.raises(NoCredentials, match=r"cannot make .*: File exists"):
        credentials.make(path)
    assert path.read_bytes() == before
