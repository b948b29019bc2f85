"""The fast tests on every Python that we support and that this machine has: `make test-pythons`."""

import os
import shutil
import subprocess

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
FAST = "not kafka and not slow and not style and not chaos and not bench and not contract"

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
# Those that are not here are told and left out.
nox.options.error_on_missing_interpreters = False

# pyenv's python3.x only runs where that version is chosen.
if shutil.which("pyenv") and "PYENV_VERSION" not in os.environ:
    bare = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True)  # noqa: S607
    installed = bare.stdout.split()
    chosen = [v for v in installed if v.rpartition(".")[0] in PYTHONS]
    if chosen:
        os.environ["PYENV_VERSION"] = ":".join(chosen)


@nox.session(python=PYTHONS)
def fast(session: nox.Session) -> None:
    """The tests without Kafka, with the versions of constraints.txt."""
    # Also for what builds the package.
    session.env["PIP_CONSTRAINT"] = os.path.abspath("constraints.txt")
    session.install("--disable-pip-version-check", "-e", ".[dev]")
    arguments = session.posargs or ["-n", "auto", "--hypothesis-profile", "quick", "-m", FAST]
    session.run("python", "-m", "pytest", *arguments)
