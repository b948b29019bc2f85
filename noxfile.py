"""The fast tests on every supported Python that is installed: `make test-pythons`."""

import os
import shutil
import subprocess

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
FAST = "not kafka and not slow and not long and not chaos and not bench and not contract"

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
# nox reports a missing Python and skips it.
nox.options.error_on_missing_interpreters = False

# A python3.x of pyenv runs only if PYENV_VERSION names its version.
if shutil.which("pyenv") and "PYENV_VERSION" not in os.environ:
    bare = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True)  # noqa: S607
    installed = bare.stdout.split()
    supported = [version for version in installed if version.rpartition(".")[0] in PYTHONS]
    if supported:
        os.environ["PYENV_VERSION"] = ":".join(supported)


@nox.session(python=PYTHONS)
def fast(session: nox.Session) -> None:
    """The tests without Kafka, with the versions of constraints.txt."""
    # The constraints apply to build dependencies, too.
    session.env["PIP_CONSTRAINT"] = os.path.abspath("constraints.txt")
    session.install("--disable-pip-version-check", "-e", ".[dev]")
    arguments = session.posargs or ["-n", "auto", "--hypothesis-profile", "quick", "-m", FAST]
    session.run("python", "-m", "pytest", *arguments)
