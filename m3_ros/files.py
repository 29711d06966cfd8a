"""Files that are there whole or not at all, whatever happens while they are written."""

import os
import tempfile
from pathlib import Path

TEMPORARY = ".writing-"
"""How the names of files begin that are being written; a crash may leave one behind."""


def write_whole(path: Path, data: bytes, *, lasting: bool = True) -> None:
    """Put a file in place in one step; one already there is replaced only when the new one is whole.

    Args:
        path: in a folder that exists.
        data: all of the file.
        lasting: wait until it is on the disk, and not only in its cache; what can be made again does without.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp lets nobody else read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
