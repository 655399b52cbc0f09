"""How a daemon is drawn, on screens of all sizes."""

import pytest

from lambdad.cli import screen
from lambdad.cli.rates import activity

BUSY = {
    "states": ["invoke", "invoke", "idle"], "invocations": 600, "cold": 6, "throttled": 30,
    "restored": 60, "waiting": 1, "provisioned_requested": 2,
}  # fmt: skip


@pytest.fixture
def drawn(make_census):
    """The lines of a frame; plain text, as wide and as high as is said."""

    def made(*pools, width=200, height=None, reserved=None, **more):
        census = make_census(*pools, reserved=reserved)
        shown = screen.frame(
            "http://host:1", census, activity(None, census), width=width, height=height, **more
        )
        return shown.plain.split("\n")

    return made


def cells(lines, title):
    """What stands below a title, to the blank line; titles and cells have two blanks between."""
    (at,) = [at for at, line in enumerate(lines) if line.startswith(title)]
    rows = [line for line in lines[at:] if line]
    return [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in rows]


def test_the_daemon_is_told_in_three_lines(drawn):
    lines = drawn(("busy", BUSY), reserved={"busy": 5})
    assert [line.split("   ") for line in lines[:3]] == [
        [
            "lambdad at http://host:1", "up 1 min 0 s", "10.0 invokes/s", "1% cold",
            "10% restored", "0.5 throttled/s", "since its start",
        ],
        [
            "3 of 1,000 run", "1 of them waiting", "5 reserved", "995 unreserved",
            "0 of 2 provisioned",
        ],
        [
            "3 environments: 2 invoke, 1 idle", "memory 300.0 MiB of 18.0 GiB",
            "spares: 1 python3.12",
        ],
    ]  # fmt: skip


def test_without_a_budget_memory_is_of_nothing(make_census):
    census = make_census()
    census["memory"]["budget_bytes"] = None
    shown = screen.frame("u", census, activity(None, census), width=200, height=None)
    assert "   memory 300.0 MiB   " in shown.plain


def test_a_function_is_a_line(drawn):
    titles, busy, asleep = cells(drawn(("asleep", {}), ("busy", BUSY), reserved={"busy": 5}),
                                 "function ")  # fmt: skip
    assert dict(zip(titles, busy, strict=True)) == {
        "function": "busy",
        "running": "3/5",
        "invokes/s": "10.0",
        "cold": "1%",
        "restored": "10%",
        "throttled/s": "0.5",
        "waiting": "1",
        "provisioned": "0/2",
        "memory": "30.0 MiB",
        "environments": "2 invoke, 1 idle",
    }
    assert asleep == ["asleep"]


def test_what_happens_to_nobody_has_no_column(drawn):
    titles, row = cells(drawn(("fn", {"states": ["idle"], "invocations": 60})), "function ")
    assert titles == ["function", "running", "invokes/s", "cold", "memory", "environments"]
    assert row == ["fn", "1.0", "0%", "10.0 MiB", "1 idle"]


def test_of_one_function_every_environment_is_shown(drawn):
    pools = ("fn", {"states": ["idle", "invoke"]}), ("fn:1", {"states": ["init"]}), ("other", {})
    lines = drawn(*pools, function="fn")
    assert [row[0] for row in cells(lines, "function ")[1:3]] == ["fn", "fn:1"]
    titles, *rows = cells(lines, "environment ")
    assert titles == [
        "environment", "state", "age", "idle", "invokes", "memory", "initialization",
    ]  # fmt: skip
    assert [row[1] for row in rows] == ["invoke", "idle", "init"]
    assert rows[1][2:] == ["1 min 1 s", "3 s", "0", "10.0 MiB", "on-demand"]
    assert "other" not in "".join(lines)


def test_one_version_alone_can_be_shown(drawn):
    lines = drawn(("fn", {}), ("fn:1", {"states": ["init"]}), function="fn:1")
    assert [row[0] for row in cells(lines, "function ")[1:2]] == ["fn:1"]


@pytest.mark.parametrize("width", [200, 120, 80, 60, 40, 20, 8])
@pytest.mark.parametrize("function", ["", "busy"])
def test_no_table_is_wider_than_the_screen(drawn, width, function):
    name = "a-name-of-sixty-four-characters-is-the-longest-that-there-can-be"
    lines = drawn(("busy", BUSY), (name, BUSY), width=width, function=function)
    assert max(len(line) for line in lines[lines.index("") :]) <= max(width, 16)


def test_a_narrow_screen_loses_what_tells_least(drawn):
    pool = ("a-name-of-more-than-16-characters", BUSY)
    titles = cells(drawn(pool, width=80), "function ")[0]
    assert titles == [
        "function", "running", "invokes/s", "cold", "throttled/s", "memory", "environments",
    ]  # fmt: skip
    titles = cells(drawn(pool, width=40), "function ")[0]
    assert titles == ["function", "running", "invokes/s"]


def test_a_long_name_takes_the_room_that_is_left_and_no_more(drawn):
    (_, row, *_) = cells(drawn(("n" * 64, {}), width=60), "function ")
    assert row[0].startswith("nnnnnnnnnnnnnnnn")
    assert row[0].endswith("…")


@pytest.mark.parametrize("height", [1, 5, 10, 24])
def test_a_low_screen_says_how_much_it_does_not_show(drawn, height):
    whole = drawn(*((f"f{number}", {}) for number in range(50)))
    lines = drawn(*((f"f{number}", {}) for number in range(50)), height=height)
    assert len(lines) == height
    assert lines[-1] == f"and {len(whole) - height + 1} more"
    assert lines[:-1] == whole[: height - 1]


def test_what_keeps_it_from_looking_stands_above_all(drawn):
    assert drawn(("fn", {}), trouble="cannot reach it")[0] == "cannot reach it"


def test_a_daemon_without_functions_is_told_too(drawn):
    lines = drawn()
    assert lines[2].startswith("0 environments: none   ")
    assert cells(lines, "function ")[1:] == []


@pytest.mark.parametrize(
    ("per_s", "said"),
    [(0, ""), (0.01, "<0.1"), (0.1, "0.1"), (9.96, "10.0"), (1234.5, "1,234")],
)
def test_rates(per_s, said):
    assert screen.rate(per_s) == said


@pytest.mark.parametrize(
    ("fraction", "said"), [(None, ""), (0, "0%"), (0.001, "<1%"), (0.5, "50%"), (1, "100%")]
)
def test_shares(fraction, said):
    assert screen.share(fraction) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3_700, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_spans(seconds, said):
    assert screen.span(seconds) == said


def test_sizes():
    assert screen.size(1023 << 20) == "1023.0 MiB"
    assert screen.size(1536 << 20) == "1.5 GiB"
