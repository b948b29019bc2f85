"""The limits are in order: what one place takes is not too large for the next."""

from schemas import limits as m


def test_limits_of_bytes_are_in_order_from_the_socket_to_the_dead_letter() -> None:
    own_headers = m.CALLBACK_RECORD_BYTES - m.HEAD_BYTES - m.BODY_BYTES
    assert own_headers >= 1024
    assert m.HEAD_BYTES < m.FRAMING_BYTES <= m.BODY_BYTES <= m.DECODED_BYTES < m.REQUEST_BYTES
    assert m.CALLBACK_RECORD_BYTES < m.ANSWER_BYTES < m.LOOKUP_RECORD_BYTES < m.DEAD_LETTER_BYTES
    assert m.DEAD_LETTER_NAME_BYTES < m.DEAD_LETTER_KEY_BYTES < m.DEAD_LETTER_HEADER_BYTES
    assert m.HEAD_BYTES < m.DEAD_LETTER_HEADER_BYTES < m.DEAD_LETTER_BYTES
    assert m.HEADERS < m.DEAD_LETTER_HEADERS
    assert m.ANSWER_BYTES < m.PAYOUT_PART_BYTES < m.LIST_ANSWER_BYTES < m.FILE_BYTES
    assert m.PAYOUT_PART_BYTES + m.HEAD_BYTES < m.RECORD_BYTES
    # What dead-lettering adds: the reason in UTF-8, stage, origin, and Kafka's framing.
    assert m.DEAD_LETTER_BYTES + 4 * m.REASON_CHARACTERS + 10_000 < m.RECORD_BYTES < m.WAITING_BYTES
    assert m.HEADERS * len("x: \r\n") < m.HEAD_BYTES


def test_limits_of_time_and_number_are_in_order() -> None:
    assert (
        m.LINGER_SECONDS
        < m.KEY_SET_SECONDS
        < m.HEAD_SECONDS
        < m.BODY_SECONDS
        < m.WRITE_SECONDS
        < m.IDLE_SECONDS
    )
    assert m.KEY_SET_SECONDS < m.HEAD_SECONDS
    assert m.IDLE_SECONDS > 60
    assert m.PIPELINED_REQUESTS < m.KEY_SET_WAITERS < m.BOARD_REQUESTS < m.CONNECTIONS
    assert m.CONNECTIONS * m.CALLBACK_RECORD_BYTES < 100 * m.MIB
