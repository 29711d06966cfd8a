"""`m3 check RECORDING`: preflight, in plain words."""

from pathlib import Path
from typing import Annotated

import tyro


def run(recording: Annotated[Path, tyro.conf.Positional]) -> int:
    """Say what is wrong with a recording; exit code 1 if it cannot be trained on.

    Args:
        recording: Bag or posed sequence.
    """
    from m3_ros.recording import Severity, check

    findings = check(recording)
    for finding in findings:
        print(f"{finding.severity.name:7} {finding.what}" + (f": {finding.cure}" if finding.cure else ""))
    errors = sum(f.severity is Severity.ERROR for f in findings)
    print(f"{recording}: {'not usable' if errors else 'usable'}, {errors} error(s), {len(findings) - errors} remark(s)")
    return 1 if errors else 0
