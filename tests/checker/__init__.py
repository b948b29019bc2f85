"""Judges the history of a cluster. It shares no code with the product, and imports only the
standard library; `record` and `avro` also use Kafka and Avro. docs/checker.md has the format.
"""
