"""The oracle shares nothing with what it checks: no import, direct or by way of others."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROBE = """
import sys
import tests.oracle.__main__
checked = ("worker", "projections")
print(sorted(name for name in sys.modules if name.split(".")[0] in checked))
print(sorted(name for name in sys.modules if name.startswith("tests.oracle.")))
"""


def test_the_oracle_imports_nothing_of_what_it_judges() -> None:
    finished = subprocess.run(  # noqa: S603 - our own interpreter on our own words
        [sys.executable, "-c", PROBE], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    checked, own = finished.stdout.splitlines()

    assert checked == "[]"
    for path in Path(__file__).parent.glob("*.py"):
        if not path.name.startswith(("test_", "__init__")):
            assert f"'tests.oracle.{path.stem}'" in own, f"{path.name} is no part of the program"
