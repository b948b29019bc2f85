"""What the board reads from Kafka: records into SQL, live events, raw records on demand."""
