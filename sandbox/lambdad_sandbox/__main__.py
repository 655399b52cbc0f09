"""How the daemon starts a zygote: ``python -I -S -B MACHINERY enter``."""

import sys

from lambdad_sandbox.zygote import main

main(sys.argv[1:])
