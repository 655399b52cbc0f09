import pytest

from lambdad.invoke.shutdown import MANAGED, Budget, ShutdownReason, plan


@pytest.mark.parametrize(
    ("any_external", "any_internal", "budget"),
    [
        (False, False, Budget(0, 0)),
        (False, True, Budget(0.5, 0.5)),
        (True, False, Budget(2, 0.3)),
        (True, True, Budget(2, 0.3)),
    ],
)
def test_the_kinds_of_extensions_say_how_long_an_end_may_take(any_external, any_internal, budget):
    assert plan(any_external=any_external, any_internal=any_internal) == budget


def test_where_events_run_side_by_side_the_runtime_has_twice_the_time():
    assert Budget(2, 0.6) == MANAGED


def test_reasons_are_in_lower_case():
    assert [str(reason) for reason in ShutdownReason] == ["spindown", "timeout", "failure"]
