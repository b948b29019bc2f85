"""Apache Kafka's jars: resolved from Maven by jgo once, then found without asking anyone."""

import contextlib
import fcntl
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

KAFKA = "org.apache.kafka:kafka_2.13:4.3.1"
# Kafka brings no binding for its logger: without this one it would end without a word. Resolved on
# its own, because together with Kafka its parent pom turns kafka-clients into an older version.
_LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"
_ATTEMPTS = 3

log = logging.getLogger(__name__)
Say = Callable[[str], None]


def _cache() -> Path:
    return Path.home() / ".cache" / "linkstatus"


def _remembered(note: Path) -> list[str] | None:
    """The jars a former run noted down, if every one is still there."""
    try:
        jars: dict[str, int] = json.loads(note.read_text())
        complete = all(Path(jar).stat().st_size == size for jar, size in jars.items())
    except (OSError, ValueError):
        return None
    return list(jars) if jars and complete else None


@contextlib.contextmanager
def _locked(file: Path, say: Say) -> Iterator[None]:
    """One process at a time, machine-wide; the lock ends with its holder."""
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process that fetches Apache Kafka …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _resolve(say: Say) -> list[Path]:
    import jgo  # slow to import, and needed once only
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
    say(f"fetching {KAFKA} from Maven, once: 46 jars, 44 MB; half a minute or so …")
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            jars = _resolve(say)
        except Exception as error:  # jgo raises whatever went wrong below it; all may be passing
            if attempt == _ATTEMPTS:
                raise RuntimeError(f"cannot fetch {KAFKA}: {error}") from error
            say(f"  trying again: {error}")
        else:
            break
    say("Apache Kafka is in the cache")
    return jars


def classpath(say: Say = log.info) -> list[str]:
    """Paths of Kafka's jars, fetched if need be; `say` is told of progress.

    Safe to call from two processes at once. jgo keeps a cache of its own, but resolves all poms
    again on each call, which takes seconds.
    """
    note = _cache() / "kafka-4.3.1.json"
    if found := _remembered(note):
        return found
    note.parent.mkdir(parents=True, exist_ok=True)
    with _locked(note.with_suffix(".lock"), say):
        if found := _remembered(note):
            return found
        jars = _fetch(say)
        draft = note.with_suffix(".draft")
        draft.write_text(json.dumps({str(jar): jar.stat().st_size for jar in jars}))
        draft.replace(note)
        return [str(jar) for jar in jars]
