"""The signals that end a process with children."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Signalled(BaseException):
    """A signal came. Not an Exception, so that no handler on the way catches it."""


@contextlib.contextmanager
def until_signal() -> Iterator[None]:
    """Leave the block without an error at the first signal, and ignore later ones."""

    def leave(_: int, __: FrameType | None) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise _Signalled

    for number in _SIGNALS:
        # `nohup` makes a process ignore SIGHUP: keep that.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, leave)
    try:
        yield
    except _Signalled:
        pass
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
