"""Writes a new plugin: a distribution of one module that works and whose test passes.

The module of each kind is a template in this folder, `<kind>.py.txt`; `$name` is the component's
name and `$Class` its class. They are written to be read: each does something small and useful.
"""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

from resetrl.errors import ConfigError
from resetrl.plugins import KINDS

_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "resetrl-$dashed"
version = "0.1.0"
description = "The $kind $name for resetrl"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["resetrl"]

[project.entry-points."resetrl.plugins"]
$name = "resetrl_$name"

[tool.hatch.build.targets.wheel]
include = ["resetrl_$name.py"]

[tool.pytest.ini_options]
pythonpath = ["."]
"""

_README = """\
# resetrl-$dashed

The $kind `$name` for resetrl. Try it without installing it, then install it:

```
resetrl plugins check .
resetrl train plugin_paths=[.] $kind=$name
pip install -e . && resetrl train $kind=$name
```

`python -m pytest` runs its test, the contract that every $kind keeps.
"""

_TEST = """\
from resetrl_$name import $Class

from resetrl.testing import check_$kind


def test_it_keeps_the_contract_of_its_kind() -> None:
    check_$kind($Class())
"""


def write_plugin(kind: str, name: str, parent: Path) -> Path:
    """Write `parent/resetrl-<name>/` and return it; raises ConfigError, overwrites nothing."""
    if kind not in KINDS:
        raise ConfigError(f"kind {kind!r} is unknown: choose {', '.join(KINDS)}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(
            f"name {name!r}: choose small letters, digits and _, a letter first, such as "
            "least_confident"
        )
    if not parent.is_dir():
        raise ConfigError(f"--folder {parent} is no folder: create it first")
    folder = parent / f"resetrl-{name.replace('_', '-')}"
    if folder.exists():
        raise ConfigError(f"{folder} exists already: choose another name or another --folder")
    module = (Path(__file__).parent / f"{kind}.py.txt").read_text(encoding="utf-8")
    files = {
        "pyproject.toml": _PYPROJECT,
        "README.md": _README,
        f"resetrl_{name}.py": module,
        f"tests/test_{name}.py": _TEST,
    }
    (folder / "tests").mkdir(parents=True)
    for file, template in files.items():
        text = Template(template).substitute(
            kind=kind,
            name=name,
            dashed=name.replace("_", "-"),
            Class="".join(word.capitalize() for word in name.split("_")),
        )
        (folder / file).write_text(text, encoding="utf-8")
    return folder
