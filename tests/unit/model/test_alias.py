import random
from collections import Counter

import pytest

from lambdad.model.alias import Alias


def alias(**weights):
    numbered = {name.removeprefix("v"): weight for name, weight in weights.items()}
    return Alias("fn", "live", "1", "revision", weights=numbered)


def test_without_weights_all_is_the_versions():
    assert {alias().drawn(lot) for lot in (0.0, 0.5, 0.999999)} == {"1"}


@pytest.mark.parametrize(
    ("weight", "lot", "version"),
    [
        (0.25, 0.0, "2"),
        (0.25, 0.249, "2"),
        (0.25, 0.25, "1"),
        (0.25, 0.999, "1"),
        (0.0, 0.0, "1"),
        (1.0, 0.999999, "2"),
    ],
)
def test_another_version_has_its_share(weight, lot, version):
    assert alias(v2=weight).drawn(lot) == version


def test_shares_are_what_they_say():
    lots = random.Random(7)
    drawn = Counter(alias(v2=0.1, v3=0.3).drawn(lots.random()) for _ in range(10_000))
    assert drawn["2"] == pytest.approx(1_000, rel=0.1)
    assert drawn["3"] == pytest.approx(3_000, rel=0.1)


def test_it_may_invoke_all_of_its_versions():
    assert alias().versions == ("1",)
    assert alias(v2=0.5).versions == ("1", "2")
