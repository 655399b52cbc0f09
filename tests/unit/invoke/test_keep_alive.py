import random

from lambdad.invoke.keep_alive import Candidate, priority, victims

MIB = 1024 * 1024


def of(*figures):
    return [Candidate(worth, held * MIB, name) for name, worth, held in figures]


def names(gone):
    return [candidate.kept for candidate in gone]


def test_what_is_dear_to_start_often_used_and_small_is_worth_most():
    least = priority(0.0, uses=1, start_s=0.003, memory_bytes=8 * MIB)
    assert priority(0.0, 1, 0.4, 8 * MIB) > least
    assert priority(0.0, 9, 0.003, 8 * MIB) > least
    assert priority(0.0, 1, 0.003, 4 * MIB) > least


def test_who_was_used_after_others_have_gone_starts_where_they_ended():
    assert priority(3.0, 0, 0.0, MIB) == 3.0
    assert priority(3.0, 1, 0.1, MIB) > priority(2.0, 1, 0.1, MIB)


def test_what_holds_nothing_that_is_known_is_taken_for_small():
    assert priority(0.0, 1, 2.0, 0) == priority(0.0, 1, 2.0, MIB) == 2.0


def test_as_few_go_as_are_needed_the_least_worth_first():
    candidates = of(("a", 3.0, 10), ("b", 1.0, 10), ("c", 2.0, 10))
    assert names(victims(candidates, 0)) == []
    assert names(victims(candidates, 1)) == ["b"]
    assert names(victims(candidates, 15 * MIB)) == ["b", "c"]
    assert names(victims(candidates, 0, needed=1)) == ["b"]
    assert names(victims(candidates, 5 * MIB, needed=2)) == ["b", "c"]


def test_all_go_if_that_is_not_enough():
    assert names(victims(of(("a", 1.0, 1), ("b", 0.0, 1)), 99 * MIB)) == ["b", "a"]


def test_of_equals_the_one_idle_for_longest_goes():
    assert names(victims(of(("first", 1.0, 1), ("second", 1.0, 1)), 1)) == ["first"]


def test_what_nobody_uses_any_more_goes_one_day_whatever_it_cost():
    """A dear one is used once; cheap ones come and go until it is overtaken."""
    dice, clock = random.Random(1), 0.0
    kept = {"dear": (0.0, 50, 1.0)}
    for number in range(10_000):
        kept[f"cheap {number}"] = clock, dice.randint(1, 3), 0.1
        candidates = [
            Candidate(priority(since, uses, start_s, 8 * MIB), 8 * MIB, name)
            for name, (since, uses, start_s) in kept.items()
        ]
        if len(kept) > 10:
            (gone,) = victims(candidates, 1)
            clock = max(clock, gone.priority)
            del kept[gone.kept]
        if "dear" not in kept:
            break
    assert "dear" not in kept
