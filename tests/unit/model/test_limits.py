import pytest

from lambdad.model import limits


def test_the_figures_are_the_documented_ones():
    assert limits.sync_payload_bytes_max == 6_291_456
    assert limits.response_bytes_max == 6_291_556
    assert limits.zip_bytes_max == 52_428_800
    assert limits.unzipped_bytes_max == 262_144_000
    assert limits.create_request_bytes_max == 70_167_211
    assert limits.client_context_bytes_max == 3_583
    assert limits.environment_bytes_max == 4_096
    assert limits.log_tail_bytes == 4_096


@pytest.mark.parametrize("name", ["timeout_s", "memory_mb", "tmp_mb"])
def test_a_default_lies_between_its_bounds(name):
    low, default, high = (getattr(limits, f"{name}_{end}") for end in ("min", "default", "max"))
    assert 0 < low <= default <= high


def test_the_runtime_api_takes_more_than_a_client_may_send():
    assert limits.response_bytes_max > limits.sync_payload_bytes_max


def test_a_request_has_room_for_the_largest_zip_in_base64():
    assert limits.create_request_bytes_max > (limits.zip_bytes_max + 2) // 3 * 4


def test_a_header_has_room_for_the_largest_x_ray_cause():
    assert limits.header_line_bytes_max > limits.MIB


def test_the_tail_fits_into_a_header():
    assert (limits.log_tail_bytes + 2) // 3 * 4 < 8_190


def test_processors_are_proportional_to_memory():
    assert limits.cpus(1_769) == 1
    assert limits.cpus(128) == pytest.approx(128 / 1_769)
    assert limits.cpus(limits.memory_mb_max) == pytest.approx(5.79, abs=0.01)


def test_the_uids_of_environments_are_nobody_elses():
    last = limits.environment_uid_first + limits.environments_max - 1
    assert limits.environment_uid_first >= 1_879_048_192
    assert last <= 2_147_483_647
    assert limits.environments_max > limits.concurrency_default
