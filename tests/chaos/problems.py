"""What a seed must not find."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.checker.findings import DOUBLED, LOST, MISSING_CLOSE, REPEATED, Finding


@dataclass(slots=True)
class Problems:
    """Texts by kind. `repeats` counts events that came again under their id, which is allowed."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    repeats: int = 0

    def by_kind(self) -> dict[str, list[str]]:
        """Return all texts, for every kind."""
        return {kind: getattr(self, kind) for kind in ("lost", "duplicated", "wrong", "hung")}

    def found(self) -> dict[str, list[str]]:
        """Return the texts of the kinds that have some."""
        return {kind: texts for kind, texts in self.by_kind().items() if texts}

    def add(self, findings: Iterable[Finding]) -> None:
        """Add what the checker has found in the history."""
        lists = {
            LOST: self.lost,
            MISSING_CLOSE: self.lost,
            REPEATED: self.duplicated,
            DOUBLED: self.duplicated,
        }
        for found in findings:
            lists.get(found.kind, self.wrong).append(f"checker: {found}")
