import re

from lambdad.model import ids

UUID_4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_a_request_id_is_a_lower_case_version_4_uuid():
    assert all(UUID_4.fullmatch(ids.request_id()) for _ in range(100))


def test_no_id_comes_twice():
    for make in (ids.request_id, ids.segment_id, lambda: ids.trace_root(0)):
        assert len({make() for _ in range(1_000)}) == 1_000


def test_a_trace_root_holds_the_time():
    root = ids.trace_root(1_795_253_400.9)
    assert re.fullmatch(r"1-[0-9a-f]{8}-[0-9a-f]{24}", root)
    assert int(root[2:10], 16) == 1_795_253_400


def test_a_segment_id_is_64_bits():
    assert re.fullmatch(r"[0-9a-f]{16}", ids.segment_id())


def test_a_log_stream_names_day_and_version():
    stream = ids.log_stream(1_795_253_400.0, "$LATEST")
    assert re.fullmatch(r"2026/11/21/\[\$LATEST\][0-9a-f]{32}", stream)
