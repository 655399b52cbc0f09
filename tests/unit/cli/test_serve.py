import pytest
import structlog
from click.testing import CliRunner

from lambdad import config, daemon
from lambdad.cli import main
from lambdad.config import Settings


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """Runs ``lambdad serve``; nobody is asked what this host can do."""
    monkeypatch.setattr(config, "CONFIG_FILE", tmp_path / "none.toml")

    def made(*arguments):
        state = str(tmp_path / "state")
        return CliRunner().invoke(main, ["serve", "--state-dir", state, *arguments])

    yield made
    structlog.reset_defaults()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org", "127.0.0.1.nip.io"])
def test_an_address_that_others_reach_is_refused_before_anything_is_done(serve, tmp_path, host):
    ran = serve("--host", host)
    assert ran.exit_code == 1
    assert ran.output.splitlines() == [
        (
            f"lambdad: cannot listen on {host}: callers are not authenticated. Use 127.0.0.1, or "
            "--auth sigv4"
        )
    ]
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_an_address_of_this_hosts_own_is_allowed(host):
    daemon._refuse_strangers(Settings(host=host))


def test_any_address_is_allowed_where_callers_sign():
    daemon._refuse_strangers(Settings(host="0.0.0.0", auth="sigv4"))


def test_a_state_directory_that_others_may_write_to_is_refused(serve, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    ran = serve()
    assert ran.exit_code == 1
    assert ran.output == (
        f"lambdad: cannot use {tmp_path / 'state'}: it must be yours and writable by you alone\n"
    )
