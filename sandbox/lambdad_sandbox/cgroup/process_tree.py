"""What /proc says of a process and those that came of it: their memory and processor time.

Not a limit: whoever looks sees what was, not what is between two looks. Who is gone counts 0.

Source: proc(5).
"""

from __future__ import annotations

import os

_US_PER_TICK = 1_000_000 // os.sysconf("SC_CLK_TCK")

_Fields = dict[str, str]


def descendants(pid: int) -> list[int]:
    """The process and all that came of it, as far as they did not lose it as an ancestor.

    Below PID 1 of a pid namespace nobody does: orphans become its children.
    """
    found, known = [pid], {pid}
    for one in found:  # It grows while it is walked.
        new = [child for child in _children(one) if child not in known]
        found += new
        known.update(new)
    return found


def resident_bytes(pid: int) -> int:
    """Memory that only this use holds: anonymous and shared memory, whoever else maps it.

    Pages of files are left out, here and below: the kernel can drop them.
    """
    fields = _fields(f"/proc/{pid}/status")
    return _bytes(fields, "RssAnon") + _bytes(fields, "RssShmem")


def proportional_bytes(pid: int) -> int:
    """The same, but a page that n processes map counts a n-th for each.

    So what a clone has in common with its zygote is not counted in full for every environment.
    The kernel walks all pages for it. If it may not be asked, ``resident_bytes``: never less.
    """
    try:
        fields = _fields(f"/proc/{pid}/smaps_rollup")
    except PermissionError:
        return resident_bytes(pid)
    return _bytes(fields, "Pss_Anon") + _bytes(fields, "Pss_Shmem")


def cpu_us(pid: int) -> int:
    """Processor time of the process and of its children that it has waited for."""
    # The name, in parentheses, may hold blanks and parentheses of its own.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    utime_to_cstime = fields[11:15]
    return sum(map(int, utime_to_cstime)) * _US_PER_TICK


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [
        int(child)
        for thread in threads
        for child in _read(f"/proc/{pid}/task/{thread}/children").split()
    ]


def _bytes(fields: _Fields, name: str) -> int:
    """A figure in kB; a process that is ending has none."""
    return int(fields.get(name, "0").split()[0]) * 1024


def _fields(path: str) -> _Fields:
    lines = (line.partition(":") for line in _read(path).splitlines())
    return {name: value for name, _, value in lines}


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""
