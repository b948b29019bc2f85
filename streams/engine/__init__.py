"""The engine: Faust agents on transactional batches (KIP-98, KIP-447).

Faust's own consumer, tables and exactly-once lose records when a worker dies. This engine replaces
only those. A *stage* consumes a batch, gives it to a Faust agent, and commits outputs, changed
table rows and offsets in one Kafka transaction. A stage's table is the compacted topic that it
writes: it has no other changelog."""
