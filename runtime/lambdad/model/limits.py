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
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html
streamed_response_bytes_max = 200 * MIB
stream_burst_bytes, stream_bytes_per_s = 6 * MIB, 2 * MIB
client_context_bytes_max = 3_583
log_tail_bytes = 4_096
header_line_bytes_max = MIB + 8_192  # the X-Ray cause header is cut at 1 MiB by its senders
log_line_bytes_max = 256 * 1024  # CloudWatch Logs: the size of one event
# Ours: 32 MiB of each log group are kept, the newest; so many groups are written to at a time
# without opening files again.
log_segment_bytes_max, log_segments_max = MIB, 32
log_files_open_max = 256
log_groups_max = 10_000  # ours, of those that are asked for; AWS has 1,000,000
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html and
# API_FilterLogEvents.html; 26 bytes are counted for each event beside its message.
log_batch_bytes_max = log_page_bytes_max = MIB
log_page_events_max = 10_000
log_event_extra_bytes = 26
log_too_old_s, log_too_new_s, log_batch_span_s = 14 * 86_400, 2 * 3_600, 86_400
log_request_bytes_max = 8 * MIB  # ours: a batch in JSON, in which a byte may take six

# HTTP. AWS names no figures; these are those of common servers, above what its clients send.
request_target_bytes_max = 8_190  # a line of 8 KiB without its end
api_header_line_bytes_max = 8_188  # the same, without the colon and the blank
headers_max = 100
api_head_bytes_max = 64 * 1024
runtime_api_head_bytes_max = header_line_bytes_max + api_head_bytes_max
chunk_size_line_bytes_max = 8_190  # as the request line
trailer_section_bytes_max = runtime_api_head_bytes_max
api_connections_max = 4_096
# Of one environment: runtimes have one or two; who takes several events at a time has one for each
# of these besides.
runtime_api_connections_max = 64
api_idle_s_max = 60
head_s_max = 10
body_grace_s, body_bytes_per_s_min = 10, 1_000
unread_s_max = 30
code_link_s = 600  # Code.Location: "valid for 10 minutes"
signature_skew_s_max = 300  # a signature is good for five minutes, either way

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
layers_max = 5  # of one function; together with its code they stay below unzipped_bytes_max
# Ours. 65,535 files take 2 to 9 s, 250 MB in one take less than 1 s; the longest names that fit
# into a package take 210 MB of memory, the zip itself included.
unpack_s_max, unpack_cpu_s_max = 60, 30
unpack_memory_bytes_max = 512 * MIB
create_request_bytes_max = 70_167_211

# The account
total_code_bytes_max = 80_530_636_800  # 75 GiB, of all functions and layers
concurrency_default = 1_000
unreserved_concurrency_min = 100
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html, "Concurrency scaling rate":
# each function may add 1,000 execution environments in each 10 s
scaling_period_s = 10

# Asynchronous invocations
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
async_payload_bytes_max = MIB
event_age_s_max = 21_600
event_refused_wait_s_min, event_refused_wait_s_max = 1, 300
events_running_max = 128  # ours: so many payloads are in memory at a time

# Functions of a capacity provider: what Python takes at a time, and the memory of a processor
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-python-runtime.html
managed_concurrency_per_vcpu, managed_gib_per_vcpu = 16, 2

# The life of an environment
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
init_phase_s_max = 10
init_phase_ahead_s = 130  # at least, of an init that no invocation waits for; else the timeout
restore_s_max = 10
# Ours: what the kernel may charge a template for its clones, page tables most of all; no guest runs
# in it any more.
template_bytes_max = 16 * 1024 * MIB
credentials_s = 6 * 3600  # for how long temporary credentials say they are good
freeze_after_s = 0.001  # ours: who is asked without a pause does not pay for freezing
# Ours: three quarters of the host's memory are for environments, unless it is said how much; one
# whose like has not been seen is taken to need so much, if its function has bought as much.
memory_budget_share, environment_bytes_expected = 0.75, 32 * MIB
idle_s_default = 600  # AWS names no figure; environments are known to stay some 5 to 15 minutes
# "Shutdown phase": 0 ms without extensions, 500 ms with internal ones, 2,000 ms with external
# ones, of which the runtime has "up to 300 ms".
shutdown_internal_s, shutdown_external_s, shutdown_runtime_share_s = 0.5, 2.0, 0.3
shutdown_managed_runtime_share_s = 0.6
telemetry_flush_s = 1.0  # between the runtime's end and SHUTDOWN, so that extensions see the tail

# Several events at a time in one environment
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances.html and, for the two
# figures, internal/lambda-managed-instances of the Runtime Interface Emulator
managed_polls_max, managed_late_ids_max = 10_000, 1_000

# Extensions
# https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html
extensions_max = 10  # external and internal ones together
extension_body_bytes_max = MIB  # as AWS's engine for several events at a time caps it
# Ours, of what is read as JSON, as everybody waits for that: a wish of an extension, and an error
# with its cause.
extension_json_bytes_max, error_with_cause_bytes_max = 64 * 1024, 256 * 1024
extension_text_characters_max = 255  # ours, of names and error types in logs: a file name's

# Inside an environment
runtime_api_host, runtime_api_port = "169.254.100.1", 9001  # as on AWS
open_files_max = 1_024
processes_max = 1_024
# AWS lends the init phase more than a small function pays for; how much is not documented.
init_phase_cpus, init_phase_cpu_s = 1.0, 0.5
memory_watch_s = 0.25  # where memory is watched for want of a cgroup: our own choice
mb_per_cpu = 1_769  # "at 1,769 MB, a function has the equivalent of one vCPU"
init_overhead_mb = (
    2  # PID 1 of an environment is ours, not the customer's: not taken from MemorySize
)

# Telemetry. https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html, buffering; that
# page and the service have 10,000 items where the reference page has 1,000.
telemetry_bytes_min, telemetry_bytes_max = 256 * 1024, MIB
telemetry_items_min, telemetry_items_max = 1_000, 10_000
telemetry_timeout_ms_min, telemetry_timeout_ms_max = 25, 30_000
telemetry_bytes_default, telemetry_items_default = telemetry_bytes_min, telemetry_items_max
telemetry_timeout_ms_default = 1_000
# Ours: how much waits for one subscriber, and how much of an init for those that come late. AWS
# says that a batch may be twice as large as its limit.
telemetry_held_bytes_max = 2 * telemetry_bytes_max
telemetry_past_bytes_max, telemetry_past_items_max = telemetry_bytes_max, telemetry_items_max
# Ours: AWS names no figures for what is tried again.
telemetry_attempts_max, telemetry_retry_s = 3, 0.1
telemetry_delivery_s_max = 5
telemetry_answer_bytes_max = 64 * 1024

# Uids of environments, one each. systemd reserves nothing from 1879048192 to 2147483647
# (https://systemd.io/UIDS-GIDS/).
environment_uid_first, environment_uid_last = 1_879_048_192, 2_147_483_647
environments_max = 4_096  # of one daemon; each daemon of a host has as many uids of its own
# Pools stay below: spares, templates and what is on its way out have uids, too.
environments_kept_max = environments_max - 256
environment_gid = 990  # as on AWS

# Disks of environments: a spare one takes 200 KB of the kernel's memory
disk_sizes_ready_max = 8

# Networks of environments
network_pool_prefix = 19  # addresses of one daemon: one for each that lives, and as many in graves
networks_in_graves_max = 64  # they are closed together: the kernel takes 16 ms for one or many


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
assert environment_uid_first + environments_max <= environment_uid_last < 2**31
assert 2 ** (32 - network_pool_prefix) - 3 > environments_max + networks_in_graves_max
assert cpus(mb_per_cpu) == 1
