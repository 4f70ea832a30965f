"""The jars of Apache Kafka, fetched once per environment by Maven, and the Java that runs them."""

import asyncio
import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.devstack.servers.process import OTHER_WAYS, StartFailed
from worker.errors import Misconfigured

POM = Path(__file__).with_name("pom.xml")
OLDEST_JAVA = 17  # what Kafka 4 brokers need
MAVEN_LIMIT_S = (
    600.0  # 43 MB over somebody's slow line; 40 s where nothing is cached, 6 s where everything is
)


async def fetch_jars(pom: Path = POM, name: str = "apache-kafka") -> Path:
    """The folder with all jars of this pom; Maven is asked where this environment does not have them yet.

    Raises Misconfigured without Java or Maven, StartFailed with the output of Maven.
    """
    return await asyncio.to_thread(_fetch_jars, pom, name)


def java_binary() -> str:
    """The Java to run brokers with; Misconfigured says what is missing and which other ways there are."""
    java = shutil.which("java")
    if java is None:
        raise Misconfigured(
            f"Apache Kafka needs Java {OLDEST_JAVA} or later, and no java is on PATH; {OTHER_WAYS}"
        )
    output = subprocess.run(  # noqa: S603 - found on PATH, no arguments of anybody else
        [java, "-version"], capture_output=True, text=True, check=False, timeout=60
    ).stderr
    version = re.search(r'version "(\d+)', output)
    if version is None or int(version[1]) < OLDEST_JAVA:
        shown = output.partition("\n")[0] or "nothing"
        raise Misconfigured(f"Apache Kafka needs Java {OLDEST_JAVA} or later; `java -version` says: {shown}")
    return java


def _fetch_jars(pom: Path, name: str) -> Path:
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:12]
    jars = Path(sys.prefix, "share", "sevenp-worker", f"{name}-{digest}")
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise Misconfigured(f"Apache Kafka comes from Maven, and no mvn is on PATH; {OTHER_WAYS}")
    jars.parent.mkdir(parents=True, exist_ok=True)
    with locked(jars.with_suffix(".lock")):
        if not jars.is_dir():
            _copy_dependencies(maven, pom, jars)
    return jars


def _copy_dependencies(maven: str, pom: Path, jars: Path) -> None:
    """Fill a folder beside `jars` and give it its name when all is there."""
    partial = jars.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    arguments = [maven, "--batch-mode", "--quiet", "--file", str(pom), "dependency:copy-dependencies"]
    arguments += [f"-DoutputDirectory={partial}", "-DincludeScope=runtime"]
    try:
        done = subprocess.run(  # noqa: S603 - found on PATH, arguments of our own
            arguments, capture_output=True, text=True, check=False, timeout=MAVEN_LIMIT_S
        )
    except subprocess.TimeoutExpired as error:
        raise StartFailed(f"Maven had no jars for {pom} after {MAVEN_LIMIT_S:.0f} s") from error
    if done.returncode != 0:
        raise StartFailed(f"Maven did not fetch the jars for {pom}:\n{(done.stdout + done.stderr)[-2_000:]}")
    partial.rename(jars)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Test processes start side by side; one of them fetches, the others wait."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
