"""The jars of Apache Kafka: jgo fetches them from Maven once, later runs read a note."""

import contextlib
import fcntl
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from connectors.reasons import reason_of

KAFKA = "org.apache.kafka:kafka_2.13:4.3.1"
# Kafka has no binding for its logger: without this one it would end without any message. It is
# resolved separately: together with Kafka, its parent pom selects an older kafka-clients.
_LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"
_ATTEMPTS = 3

log = logging.getLogger(__name__)
Say = Callable[[str], None]


def _cache() -> Path:
    return Path.home() / ".cache" / "linkstatus"


def _noted(note: Path) -> list[str] | None:
    """The jars that an earlier run noted, if all still exist."""
    try:
        jars: dict[str, int] = json.loads(note.read_text())
        complete = all(Path(jar).stat().st_size == size for jar, size in jars.items())
    except (OSError, ValueError):
        return None
    return list(jars) if jars and complete else None


@contextlib.contextmanager
def _locked(file: Path, say: Say) -> Iterator[None]:
    """One process at a time on this machine; the lock ends with its process."""
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process to fetch Apache Kafka …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _resolve(say: Say) -> list[Path]:
    import jgo  # slow to import, and needed only once
    from jgo.maven import PythonResolver

    count = 0

    @contextlib.contextmanager
    def downloading(filename: str, size: int) -> Iterator[Callable[[int], None]]:
        nonlocal count
        count += 1
        say(f"  {count:2d}  {filename}  {size / 1e6:.1f} MB")
        yield lambda _: None

    resolver = PythonResolver(progress_callback=downloading)
    kafka = jgo.build(KAFKA, resolver=resolver).path.glob("*/*.jar")
    binding = jgo.build(_LOGGING, resolver=resolver).path.glob("*/log4j-slf4j-impl-*.jar")
    return sorted([*kafka, *binding])


def _fetch(say: Say) -> list[Path]:
    say(f"fetching {KAFKA} from Maven, once: 46 jars, 44 MB; about half a minute …")
    for left in reversed(range(_ATTEMPTS)):
        try:
            return _resolve(say)
        except Exception as error:  # jgo raises any error of its libraries; a retry may help
            problem = error
            say(f"  failed: {reason_of(error)}" + ("; trying again" if left else ""))
    raise RuntimeError(f"cannot fetch {KAFKA} from Maven: {reason_of(problem)}; check the network")


def classpath(say: Say = log.info) -> list[str]:
    """The paths of Kafka's jars; fetches missing ones and reports progress to `say`.

    Two processes may call it at the same time. jgo has its own cache, but resolves all poms again
    on each call, which takes seconds: hence the note.
    """
    note = _cache() / "kafka-4.3.1.json"
    if jars := _noted(note):
        return jars
    note.parent.mkdir(parents=True, exist_ok=True)
    with _locked(note.with_suffix(".lock"), say):
        if jars := _noted(note):
            return jars
        paths = {str(jar): jar.stat().st_size for jar in _fetch(say)}
        draft = note.with_suffix(".draft")
        draft.write_text(json.dumps(paths))
        draft.replace(note)
        return list(paths)
