"""How a process makes its Kafka clients, and the clock by which it waits for them: the place where
a simulation puts its own.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, Producer

from connectors.kafka.transactional_producer import TransactionalProducer


@dataclass(frozen=True, slots=True)
class Clients:
    """`members` replaces `group_members`. It has no default here: aiokafka is no dependency of a
    program that only consumes.
    """

    consumer: Callable[..., Consumer] = Consumer
    producer: Callable[..., Producer] = TransactionalProducer
    members: Callable[[Mapping[str, Any], str], dict[str, str]] | None = None
    monotonic: Callable[[], float] = time.monotonic
