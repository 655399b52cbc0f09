"""A keeper of a template, executed as a process: what a zygote is before it forks one.

Its arguments are a file with the runtime, a module with ``main``, and the number of its channel.
"""

import importlib.util
import socket
import sys

from lambdad_sandbox import enter, template
from lambdad_sandbox.channel import receive
from lambdad_sandbox.messages import KeepTemplate
from lambdad_sandbox.steps import DropBoundingSet, guest_filter

spec = importlib.util.spec_from_file_location("runtime", sys.argv[1])
sys.modules["runtime"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["runtime"])
guest_filter()
enter.run([DropBoundingSet()], {})
message, descriptors = receive(socket.socket(fileno=int(sys.argv[2])))
assert isinstance(message, KeepTemplate)
template.keep(message, dict(zip(message.descriptors, descriptors, strict=True)), "runtime")
