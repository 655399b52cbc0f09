"""PID, where environments are clones: what a template was told is nobody else's to find."""

from __future__ import annotations

import pytest
from scenario.snapshots import deploy, publish, published

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

PLAIN = "def handler(event, context): pass"
# Looks for a word that it is sent in disguise, so that it does not find itself.
SEEKS = """
    import re

    flip = bytes(number ^ 1 for number in range(256))

    def handler(disguised, context):
        word, found = bytes(disguised), 0
        with open("/proc/self/maps") as file:
            spans = [re.match("([0-9a-f]+)-([0-9a-f]+) r.*", line) for line in file]
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            for span in filter(None, spans):
                start, end = (int(number, 16) for number in span.groups())
                try:
                    memory.seek(start)
                    found += memory.read(end - start).translate(flip).count(word)
                except (OSError, ValueError, OverflowError):
                    continue
        return found
"""


def test_pid_2_the_variables_of_a_template_are_in_no_others_memory(daemon, secret):
    """They would be, had the zygote seen them: all environments come of its memory."""
    disguised = [letter ^ 1 for letter in secret.encode()]
    variables = {f"SECRET{size}": "." * size + secret for size in range(0, 320, 32)}
    seeker = deploy(daemon, SEEKS)
    owner = published(daemon, PLAIN, Environment={"Variables": variables})
    try:
        assert publish(daemon, seeker)["State"] == "Active"
        for qualifier in ("$LATEST", "1"):
            daemon.invoke(owner)
            assert daemon.invoke(f"{seeker}:{qualifier}", disguised).payload == 0
        own = {"FunctionName": seeker, "Environment": {"Variables": {"SECRET": secret}}}
        daemon.client.update_function_configuration(**own)
        daemon.wait("function_updated_v2", seeker)
        assert daemon.invoke(seeker, disguised).payload > 0  # It would have found it.
    finally:
        for name in (seeker, owner.partition(":")[0]):
            daemon.client.delete_function(FunctionName=name)
