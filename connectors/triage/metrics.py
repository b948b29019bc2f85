"""The Prometheus counters of dead letters, for every process that writes them."""

from prometheus_client import Counter

# The reason in a dead letter is a sentence; its kind is the class of the exception.
DEAD_LETTERED = Counter(
    "linkstatus_dead_letters_total", "Records dead-lettered, by stage and kind.", ["stage", "kind"]
)
LOST = Counter(
    "linkstatus_dead_letters_refused_total",
    "Records that the cluster refused even as dead letters.",
    ["stage"],
)
