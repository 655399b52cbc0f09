"""Where the guest files lie, and how they are given away.

Nothing here runs inside an environment, and nothing of the guest is imported.
"""

from __future__ import annotations

import shutil
from pathlib import Path

GUEST = Path(__file__).parent / "guest"  # what is to be seen at /var/runtime


def copy_guest(to: Path) -> None:
    """Write the guest files, and nothing that Python may have left beside them.

    Args:
        to: a folder, made if it is missing; what it holds under other names stays.

    Raises:
        OSError: a file cannot be written.
    """
    to.mkdir(mode=0o755, parents=True, exist_ok=True)
    for source in sorted(GUEST.iterdir()):
        if source.is_file():
            target = to / source.name
            shutil.copyfile(source, target)
            # Set rather than copied: an unpacked wheel keeps no modes.
            target.chmod(0o644 if source.suffix else 0o755)
