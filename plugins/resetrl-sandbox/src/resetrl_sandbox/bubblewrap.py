"""The external level: a launcher inside of bubblewrap, where our own namespaces are not allowed.

Some distributions forbid user namespaces to all programs but a few, of which `bwrap` is one.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

_SYSTEM = ("/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/lib", "/lib64")


def bubblewrap(python: str, package: Path, packages: Mapping[str, str]) -> list[str]:
    """The command before the launcher's own; raises FileNotFoundError without bubblewrap."""
    program = shutil.which("bwrap")
    if program is None:
        raise FileNotFoundError("bwrap is not installed")
    library = os.path.join(sys.base_prefix, "lib")
    extra = [each for folder in packages.values() for each in (folder, f"{folder}.libs")]
    visible = [python, library, str(package), *filter(os.path.isdir, extra)]
    command = [
        *(program, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"),
        *("--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"),
        *("--proc", "/proc", "--dev", "/dev"),
    ]
    for path in _SYSTEM:
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            command += ["--ro-bind", path, path]
    for path in visible:
        command += ["--ro-bind", path, path]
    return [*command, "--chdir", "/", "--"]
