"""Which dead letters are meant, as somebody wrote it: on the command line, in a form, in a URL."""

from collections.abc import Iterable, Mapping

from connectors.letters.letter import BadPlace, Place, Wanted, place
from connectors.letters.moment import BadMoment, moment


class NotUnderstood(ValueError):
    """One of the words is wrong; `name` says which, the message why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


def meant(said: Mapping[str, str], places: Iterable[str], now: int) -> Wanted:
    """`said` may name reason, stage, provider, link, since and until; what is empty does not
    narrow. `now` in microseconds. Raises NotUnderstood.
    """
    return Wanted(
        places=[_place(text) for text in places],
        reason=said.get("reason", ""),
        stage=said.get("stage", ""),
        provider=said.get("provider", ""),
        link_id=said.get("link", ""),
        since=_moment(said, "since", now),
        until=_moment(said, "until", now),
    )


def _place(text: str) -> Place:
    try:
        return place(text)
    except BadPlace as error:
        raise NotUnderstood("place", str(error)) from None


def _moment(said: Mapping[str, str], name: str, now: int) -> int | None:
    try:
        return moment(text, now) if (text := said.get(name)) else None
    except BadMoment as error:
        raise NotUnderstood(name, str(error)) from None
