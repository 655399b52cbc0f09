"""Every limit, unit last, each with its source. Relations between them are asserted below.

Sources, where no other is named: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
and the behaviour recorded from the service.
"""

from __future__ import annotations

MIB = 1024 * 1024

# Invocations
sync_payload_bytes_max = 6 * MIB
# The Runtime API takes 100 bytes more than a client may send (recorded: 6,291,556).
response_bytes_max = sync_payload_bytes_max + 100
client_context_bytes_max = 3_583
log_tail_bytes = 4_096
header_line_bytes_max = MIB + 8_192  # the X-Ray cause header is cut at 1 MiB by its senders
log_line_bytes_max = 256 * 1024  # CloudWatch Logs: the size of one event

# Functions
timeout_s_min, timeout_s_default, timeout_s_max = 1, 3, 900
memory_mb_min, memory_mb_default, memory_mb_max = 128, 128, 10_240
tmp_mb_min, tmp_mb_default, tmp_mb_max = 512, 512, 10_240
environment_bytes_max = 4_096
name_characters_max = 64
tags_max = 50

# Code
zip_bytes_max = 52_428_800
unzipped_bytes_max = 262_144_000
zip_entries_max = 65_535
create_request_bytes_max = 70_167_211

# The account
concurrency_default = 1_000

# The life of an environment
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
init_phase_s_max = 10
idle_s_default = 600  # AWS names no figure; environments are known to stay some 5 to 15 minutes

# Inside an environment
runtime_api_host, runtime_api_port = "169.254.100.1", 9001  # as on AWS
open_files_max = 1_024
processes_max = 1_024
# AWS lends the init phase more than a small function pays for; how much is not documented.
init_phase_cpus, init_phase_cpu_s = 1.0, 0.5
mb_per_cpu = 1_769  # "at 1,769 MB, a function has the equivalent of one vCPU"
init_overhead_mb = (
    2  # PID 1 of an environment is ours, not the customer's: not taken from MemorySize
)

# Uids of environments, one each. systemd reserves nothing from 1879048192 to 2147483647
# (https://systemd.io/UIDS-GIDS/).
environment_uid_first = 1_879_048_192
environments_max = 4_096
environment_gid = 990  # as on AWS


def cpus(memory_mb: int) -> float:
    """The processors that ``memory_mb`` buys: 1,769 MB are one.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
    """
    return memory_mb / mb_per_cpu


assert response_bytes_max == 6_291_556
assert zip_bytes_max * 4 / 3 < create_request_bytes_max
assert timeout_s_min <= timeout_s_default <= timeout_s_max
assert memory_mb_min <= memory_mb_default <= memory_mb_max
assert tmp_mb_min <= tmp_mb_default <= tmp_mb_max
assert environment_uid_first + environments_max < 2**31
assert cpus(mb_per_cpu) == 1
