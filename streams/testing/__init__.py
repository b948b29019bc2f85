"""The test kit of a service that consumes the topics: events and `consume` without Kafka::

    kafka = InMemoryKafka(repeats=True, crashes=True)
    kafka.publish(ORDER_CLOSE, order_close("O1"), order_close("O2", amount_minor=None))
    kafka.run(service)

`service` is a function that reads with `kafka.consume` where it would read with `streams.consume`.
"""

from streams.testing.events import (
    anomaly,
    closed_link,
    link_status,
    order_close,
    order_correction,
    refund,
    settlement,
)
from streams.testing.in_memory_kafka import Crashed, InMemoryKafka

__all__ = [
    "Crashed",
    "InMemoryKafka",
    "anomaly",
    "closed_link",
    "link_status",
    "order_close",
    "order_correction",
    "refund",
    "settlement",
]
