"""Reading from and writing to a Kafka cluster."""
