from __future__ import annotations

import os
import signal

import pytest

from lambdad_sandbox.cgroup import process_tree
from lambdad_sandbox.cgroup.process_tree import (
    cpu_us,
    descendants,
    proportional_bytes,
    resident_bytes,
)

MIB = 1024 * 1024
# Beyond what pid_max may be, see proc(5).
NOBODY = 2**22 + 1


@pytest.fixture
def child():
    """A process that has one child; both wait to be killed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.fork()
        os.write(writer, b"!")
        signal.pause()
        os._exit(0)
    while len(os.read(reader, 1)) < 1:
        pass
    os.read(reader, 1)
    yield pid
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)


def test_a_tree_is_a_process_and_its_children(child):
    found = descendants(child)
    assert found[0] == child
    assert len(found) == 2


def test_what_is_shared_counts_in_part(child):
    assert 0 < proportional_bytes(child) < resident_bytes(child)


def test_shared_memory_counts_and_pages_of_files_do_not(monkeypatch):
    texts = {
        "/proc/7/status": "RssAnon:\t  1024 kB\nRssFile:\t 4096 kB\nRssShmem:\t 2048 kB\n",
        "/proc/7/smaps_rollup": "Pss:  9 kB\nPss_Anon: 512 kB\nPss_File: 1 kB\nPss_Shmem: 512 kB\n",
    }
    monkeypatch.setattr(process_tree, "_read", texts.get)
    assert resident_bytes(7) == 3 * MIB
    assert proportional_bytes(7) == MIB


def test_where_the_shares_are_not_to_be_seen_all_of_it_counts(monkeypatch):
    def read(path):
        if path.endswith("smaps_rollup"):
            raise PermissionError
        return "RssAnon:\t  1024 kB\n"

    monkeypatch.setattr(process_tree, "_read", read)
    assert proportional_bytes(7) == MIB


def test_processor_time_is_read_whatever_a_process_calls_itself(monkeypatch):
    stat = "7 (a) S (b) S 1 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 1 1 1"
    monkeypatch.setattr(process_tree, "_read", lambda path: stat)
    assert cpu_us(7) == 100 * 1_000_000 // os.sysconf("SC_CLK_TCK")


def test_who_is_gone_uses_nothing():
    assert descendants(NOBODY) == [NOBODY]
    assert resident_bytes(NOBODY) == proportional_bytes(NOBODY) == cpu_us(NOBODY) == 0
