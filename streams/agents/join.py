"""join: events that name only a payment find their link."""

from confluent_kafka import Message

from schemas import codec
from schemas.topics import message_key
from streams.agents.messages import check_key, place, send_link_event, trace
from streams.domain.joining import join
from streams.engine.batch import Batch


class Join:
    """Keyed by payment; its table is the topic `payments`."""

    def __call__(self, batch: Batch, message: Message) -> None:
        fact = codec.PAYMENT_EVENT.decode(message.value())
        partition, key = place(message)
        check_key(key, message_key(fact["provider"], fact["payment_id"]))
        known = batch.tables[partition].get(key)
        joined = join(known, fact)
        if joined.row is not known:
            batch.put(partition, key, joined.row)
        for event in joined.events:
            send_link_event(batch, event, trace(message))
