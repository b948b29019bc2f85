"""What people mark: anomalies as done, dead letters as set aside. Blocking, but for the words."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from connectors import noting
from connectors.board import asking, finding, queries
from connectors.board.store import Store
from connectors.clock import micros_now
from connectors.letters.letter import Letter, Wanted
from connectors.noting import Mark
from schemas.records import Anomaly, Notice

Words = Mapping[str, tuple[str, ...] | None]

_ANOMALY_WORDS: Words = {"event_id": None, "provider": None, "kind": asking.KINDS, "until": None}
_LETTER_WORDS: Words = dict.fromkeys(asking.LETTER_WORDS)


class Meant(NamedTuple):
    """Those that a mark is meant for, the newest first; `number` is how many there are in all."""

    some: list[Any]
    number: int


class Matter(Protocol):
    """One kind of thing to mark. `path` is its list, `kept` the words that narrow that, `words` all
    that choose, and `name` the word that names one.
    """

    path: str
    page: str
    words: Words
    name: str
    kept: tuple[str, ...]

    def where(self, given: Mapping[str, str]) -> Any:
        """What is meant by these words. Raises BadParameter."""

    def counted(self, store: Store, where: Any) -> dict[str, Any]:
        """What the page shows before anything is done; `count` is how many are open."""

    def meant(self, store: Store, where: Any, *, done: bool, most: int) -> Meant:
        """Those that can be marked so: the open ones as done, and the other way round."""

    def notice(self, one: Any, mark: Mark) -> Notice:
        """The mark of one, as it is kept."""

    def latest(self, store: Store, one: Any) -> Mark | None:
        """The latest word about it that the store knows."""


class Anomalies:
    """Marked as done."""

    path = "/anomalies"
    page = "done.html"
    name = "event_id"
    kept: tuple[str, ...] = ("kind", "provider")
    words = _ANOMALY_WORDS

    def where(self, given: Mapping[str, str]) -> dict[str, str | int]:
        kind = given.get("kind")
        if kind is not None and kind not in asking.KINDS:
            raise asking.BadParameter("kind", f"is not one of {', '.join(asking.KINDS)}")
        until = asking.at(given, "until", micros_now())
        named = {name: text for name, text in given.items() if name != "until"}
        return {**named, **({} if until is None else {"until": until})}

    def counted(self, store: Store, where: Mapping[str, Any]) -> dict[str, Any]:
        kinds = finding.anomalies_by_kind(store, where)
        named = self.meant(store, where, done=True, most=1).some if "event_id" in where else []
        one = named[0] if named else None
        return {"kinds": kinds, "count": sum(number for _, _, number in kinds), "one": one}

    def meant(self, store: Store, where: Mapping[str, Any], *, done: bool, most: int) -> Meant:
        found = finding.anomalies(store, where, fresh=done, limit=most, after=None)
        some = [one for one, said in found.page.rows if done or (said and said.done)]
        return Meant(some, found.number)

    def notice(self, one: Anomaly, mark: Mark) -> Notice:
        return noting.of_mark(one, mark)

    def latest(self, store: Store, one: Anomaly) -> Mark | None:
        return queries.marks(store, [one["event_id"]]).get(one["event_id"])


class Letters:
    """Dead letters, set aside: what no replay will ever cure."""

    path = "/dead-letters"
    page = "aside.html"
    name = "place"
    kept: tuple[str, ...] = ("provider", "link", "reason", "stage", "since")
    words = _LETTER_WORDS

    def where(self, given: Mapping[str, str]) -> Wanted:
        return asking.wanted(given, micros_now())

    def counted(self, store: Store, where: Wanted) -> dict[str, Any]:
        reasons = finding.letters_by_reason(store, where, show="open")
        return {"reasons": reasons, "count": sum(number for _, _, number in reasons)}

    def meant(self, store: Store, where: Wanted, *, done: bool, most: int) -> Meant:
        show = "open" if done else "aside"
        found = finding.briefly(store, where, show=show, limit=most)
        return Meant(found.page.rows, found.number)

    def notice(self, one: Letter, mark: Mark) -> Notice:
        return noting.of_letter(one, mark)

    def latest(self, store: Store, one: Letter) -> Mark | None:
        return queries.letter_marks(store, [one.place]).get(one.place)
