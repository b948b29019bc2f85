"""The rules: pure functions over records. No clock, no I/O, no Kafka; times come in the events."""
