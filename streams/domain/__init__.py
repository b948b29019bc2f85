"""The rules: pure functions over records, without clock, I/O or Kafka. Times come in the events."""
