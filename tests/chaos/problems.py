"""What a seed must not find."""

from dataclasses import dataclass, field


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
