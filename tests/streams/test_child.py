"""Children: a port that one is to listen on is for nobody else."""

from pathlib import Path

from streams import child

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Where Linux takes them from unless it is told otherwise.
_USUAL = 32_768


def test_nobody_is_given_the_port_that_another_was_given_and_has_yet_to_take() -> None:
    given = [child.free_port() for _ in range(500)]
    assert len(set(given)) == 500


def test_no_client_and_nobody_who_asks_for_any_port_is_given_it_either() -> None:
    lowest = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else _USUAL
    assert lowest < _USUAL or child.free_port() < lowest
