"""A librdkafka producer whose waits for the group's coordinator end."""

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotFinished
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition


class CoordinatorStuck(KafkaException):
    """The group's coordinator has not taken the offsets in time. The producer is of no further
    use; its transaction has not committed, and another producer with its id aborts it.
    """


class TransactionalProducer(Producer):
    """librdkafka ignores the time-out of `send_offsets_to_transaction`. If the broker that was the
    group's coordinator leaves the cluster, it waits until any other connection changes, which may
    be never (github.com/confluentinc/librdkafka, issues 5456 and 5511).
    """

    def send_offsets_to_transaction(
        self, positions: list[TopicPartition], group_metadata: Any, timeout: float = 10
    ) -> None:
        """Raises CoordinatorStuck after `timeout` seconds, KafkaException."""
        sent = Future[None]()
        super_send = super().send_offsets_to_transaction

        def send() -> None:
            try:
                # librdkafka's own time-out is longer, so that of this call comes first.
                super_send(positions, group_metadata, 2 * timeout)
            except BaseException as error:
                sent.set_exception(error)
            else:
                sent.set_result(None)

        # A stuck call cannot be interrupted: its thread ends with it, or with the process.
        threading.Thread(target=send, name="send-offsets", daemon=True).start()
        try:
            sent.result(timeout)
        except NotFinished:
            reason = f"the group's coordinator has not answered for {timeout:g} s"
            raise CoordinatorStuck(KafkaError(KafkaError._TIMED_OUT, reason)) from None
