"""How many records became dead letters, for Prometheus: whichever process gave them up."""

from prometheus_client import Counter

# The reason in a dead letter is a sentence; its kind is the name of the exception.
DEAD = Counter(
    "linkstatus_dead_letters_total", "Records dead-lettered, by stage and kind.", ["stage", "kind"]
)
