"""Lists in pages."""

import pytest

from lambdad.api.operations.pages import page
from lambdad.model.errors import ApiError


def all_pages(items, count):
    shown, params = [], {"MaxItems": count}
    while True:
        items_of_page, marker = page(params, items, str)
        shown.append(items_of_page)
        if not marker:
            return shown
        params["Marker"] = marker["NextMarker"]


def test_pages_together_are_the_list_in_order():
    assert all_pages(["c", "a", "e", "b", "d"], 2) == [["a", "b"], ["c", "d"], ["e"]]


def test_the_last_page_has_no_marker_even_if_it_is_full():
    assert all_pages(["a", "b"], 2) == [["a", "b"]]
    assert all_pages([], 2) == [[]]


def test_without_a_count_there_are_fifty_and_never_more():
    items = [f"{number:03}" for number in range(60)]
    assert len(page({}, items, str)[0]) == 50
    assert len(page({"MaxItems": 10_000}, items, str)[0]) == 50


def test_a_marker_of_what_is_gone_leads_on():
    _, marker = page({"MaxItems": 2}, ["a", "b", "c"], str)
    assert page({"Marker": marker["NextMarker"]}, ["a", "c"], str) == (["c"], {})


def test_what_is_no_marker_is_refused():
    with pytest.raises(ApiError, match="Invalid marker"):
        page({"Marker": "ä"}, ["a"], str)
