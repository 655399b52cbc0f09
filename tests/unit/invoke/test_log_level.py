import pytest

from lambdad.invoke.log_level import Level, level_named


def test_levels_are_ordered_by_how_much_they_matter():
    assert sorted(Level) == [
        Level.TRACE, Level.DEBUG, Level.INFO, Level.WARN, Level.ERROR, Level.FATAL,
    ]  # fmt: skip


@pytest.mark.parametrize("level", Level)
def test_a_level_is_read_from_its_name_in_any_case(level):
    assert level_named(level.name) is level
    assert level_named(level.name.lower()) is level


@pytest.mark.parametrize("name", ["", "WARNING", "30", " INFO", None, 3, ["INFO"], {"a": 1}])
def test_what_is_no_level_is_none(name):
    assert level_named(name) is None
