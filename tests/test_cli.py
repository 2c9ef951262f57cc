import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "mlflow", "hydra", "numpy", "matplotlib", "scipy")

PROBE = """
import json, resource, sys
sys.argv = ["resetrl", *json.loads(sys.argv[1])]
try:
    from resetrl.cli import main
    main()
except SystemExit:
    pass
usage = resource.getrusage(resource.RUSAGE_SELF)
loaded = [name for name in json.loads(%r) if name in sys.modules]
print("\\nPROBE" + json.dumps([loaded, usage.ru_utime + usage.ru_stime]))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["plugins", "list"],
        ["train", "--help"],
        ["show", "--help"],
        ["eval", "--help"],
        ["correct", "--help"],
        ["compare", "--help"],
        ["diff", "--help"],
    ],
)
def test_light_commands_import_nothing_heavy(arguments):
    done = subprocess.run(
        [sys.executable, "-c", PROBE % json.dumps(HEAVY), json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded, _ = json.loads(done.stdout.rpartition("PROBE")[2])
    assert loaded == []


def test_the_version_is_the_packages():
    done = subprocess.run(
        [sys.executable, "-m", "resetrl.cli", "--version"], capture_output=True, text=True
    )
    assert done.stdout == "resetrl 0.1.0\n"


def test_a_warning_of_resetrl_is_one_sentence_and_others_are_as_ever():
    code = (
        "import sys, warnings; sys.argv = ['resetrl', '--version']\n"
        "from resetrl import cli; from resetrl.errors import ResetrlWarning\n"
        "cli.print_our_warnings()\n"
        "warnings.warn('ours', ResetrlWarning)\nwarnings.warn('theirs')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[0] == "warning: ours"
    assert done.stderr.splitlines()[1].endswith("UserWarning: theirs")
