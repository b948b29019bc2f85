"""The walk of a batch through its steps: what a failed record did is undone, and only that."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Message

from connectors.kafka.partitioner import partition_of
from streams.engine.batch import Batch, Fact
from streams.engine.spec import StageSpec, Step, TableSpec
from streams.engine.table import TablePartition
from streams.rebuild.in_memory import Record

COUNTS = TableSpec("counts", encode=lambda row: b"%d" % row, decode=int)
PARTITIONS = 4
# A key of each partition.
KEYS = {partition_of(b"k%d" % n, PARTITIONS): b"k%d" % n for n in range(100)}

Handle = Callable[[Batch, Fact], None]


def send_dead_letter(batch: Batch, message: Message, step: str, error: Exception) -> None:
    batch.send("dead", message.key(), f"{step}: {error}".encode())
    batch.on_commit(lambda: None)


SPEC = StageSpec(
    "stage",
    (Step("first", ("in",)), Step("second", ("facts",), COUNTS)),
    send_dead_letter,
    retry_on=(ConnectionError,),
)


def with_table(table: TableSpec, output_bytes: int = SPEC.output_bytes) -> StageSpec:
    steps = (SPEC.steps[0], Step("second", ("facts",), table))
    return replace(SPEC, steps=steps, output_bytes=output_bytes)


def first(batch: Batch, fact: Fact) -> None:
    """Hand the values on, to the second step or to its topic. Some values fail, on the way."""
    key, value = fact.key or b"", fact.message.value() or b""
    for item in value.split(b","):
        target = KEYS[(fact.partition + 1) % PARTITIONS] if item == b"elsewhere" else key
        if not batch.hand_on(fact, "second", target, item, None):
            batch.send("facts", target, item)
    if b"," not in value:
        batch.send("out", key, value)
    if value == b"bad":
        raise ValueError("bad record")
    if value == b"later":
        raise ConnectionError("try again")


def second(batch: Batch, fact: Fact) -> None:
    """Count the facts of each key."""
    key = fact.key or b""
    row = batch.tables["second"][fact.partition].get(key) or 0
    batch.put("second", fact.partition, key, row + 1)
    batch.on_commit(lambda: None)
    if (fact.value or fact.message.value()) in (b"bad fact", b"bad in its topic"):
        raise ValueError("bad fact")


def new_batch(
    *values: bytes, topic: str = "in", partition: int = 1, spec: StageSpec = SPEC
) -> Batch:
    records: Any = [
        Record(f"p.{topic}", KEYS[partition], value, [], 0, partition, offset)
        for offset, value in enumerate(values)
    ]
    table = spec.tables["second"]
    tables = {"second": {n: TablePartition(table.encode, table.decode) for n in range(PARTITIONS)}}
    return Batch(spec, records, tables, "p.", PARTITIONS)


def walk(batch: Batch) -> list[str]:
    """Walk through the steps. Return their names, in the order in which they ran."""
    handlers: dict[str, Handle] = {"first": first, "second": second}
    ran: list[str] = []

    def run_step(step: str) -> None:
        ran.append(step)
        batch.each(step, handlers[step])

    batch.walk(run_step)
    return ran


def rows(batch: Batch) -> dict[bytes, bytes | None]:
    return {k: v for table in batch.tables["second"].values() for k, v in table.changes().items()}


def outputs(batch: Batch) -> list[tuple[str, bytes | None]]:
    return [(output.topic, output.value) for output in batch.outputs]


def test_facts_of_the_same_partition_are_handed_on_in_memory() -> None:
    batch = new_batch(b"one", b"two")
    assert walk(batch) == ["first", "second"]
    assert outputs(batch) == [("out", b"one"), ("out", b"two")]
    assert rows(batch) == {KEYS[1]: b"2"}


def test_fact_of_another_partition_goes_through_its_topic() -> None:
    batch = new_batch(b"elsewhere")
    walk(batch)
    assert outputs(batch) == [("facts", b"elsewhere"), ("out", b"elsewhere")]
    assert batch.outputs[0].key == KEYS[2]
    assert rows(batch) == {}


def test_consumed_fact_is_handled_like_one_handed_on() -> None:
    batch = new_batch(b"elsewhere", topic="facts")
    walk(batch)
    assert rows(batch) == {KEYS[1]: b"1"}


def test_record_that_fails_in_its_first_step_is_a_dead_letter_and_hands_nothing_on() -> None:
    batch = new_batch(b"one", b"bad", b"bad")
    assert walk(batch) == ["first", "second"]
    dead = ("dead", b"first: bad record")
    assert outputs(batch) == [("out", b"one"), dead, dead]
    assert rows(batch) == {KEYS[1]: b"1"}


def test_record_that_fails_in_a_later_step_leaves_nothing_behind() -> None:
    batch = new_batch(b"one", b"bad fact", b"two", b"bad fact")
    # The batch walks again without both.
    assert walk(batch) == ["first", "second", "first", "second"]
    dead = ("dead", b"second: bad fact")
    assert outputs(batch) == [dead, dead, ("out", b"one"), ("out", b"two")]
    assert rows(batch) == {KEYS[1]: b"2"}
    # Counted are two dead letters and two facts.
    assert len(batch._on_commit) == 4


def test_failed_fact_of_a_record_with_several_leaves_the_others() -> None:
    batch = new_batch(b"one", b"x,bad fact,elsewhere,y", b"two")
    # The facts of the second record go through their topic now, where each is a record of its own.
    assert walk(batch) == ["first", "second", "first", "second"]
    facts = [value for topic, value in outputs(batch) if topic == "facts"]
    assert facts == [b"x", b"bad fact", b"elsewhere", b"y"]
    assert not [value for topic, value in outputs(batch) if topic == "dead"]
    assert rows(batch) == {KEYS[1]: b"2"}
    consumed = new_batch(b"x", b"bad fact", b"y", topic="facts")
    # (In its topic it fails as `bad in its topic` does.)
    walk(consumed)
    assert outputs(consumed) == [("dead", b"second: bad fact")]
    assert rows(consumed) == {KEYS[1]: b"2"}


def test_consumed_fact_that_fails_is_undone_without_another_walk() -> None:
    batch = new_batch(b"one", b"bad in its topic", topic="facts")
    assert walk(batch) == ["first", "second"]
    assert outputs(batch) == [("dead", b"second: bad fact")]
    # The second had replaced the pending row of the first.
    assert rows(batch) == {KEYS[1]: b"1"}


@pytest.mark.parametrize(("extra", "counted"), [(-1, 9), (0, 10), (1, 10)])
def test_row_above_the_limit_makes_its_record_a_dead_letter(extra: int, counted: int) -> None:
    key, size = KEYS[1], 100
    table = TableSpec("counts", lambda row: b"x" * row * size, lambda row: len(row) // size)
    spec = with_table(table, output_bytes=len(key) + 10 * size + extra)
    batch = new_batch(*[b""] * 12, spec=spec)
    walk(batch)
    assert rows(batch) == {key: b"x" * counted * size}
    dead = [value or b"" for topic, value in outputs(batch) if topic == "dead"]
    assert len(dead) == 12 - counted
    assert b"the table of second would get a record of " in dead[0]


def test_row_that_cannot_be_encoded_makes_its_record_a_dead_letter() -> None:
    def encode(row: int) -> bytes:
        if row > 2:
            raise OverflowError("only two")
        return b"%d" % row

    batch = new_batch(b"1", b"2", b"3", spec=with_table(TableSpec("counts", encode, int)))
    walk(batch)
    assert rows(batch) == {KEYS[1]: b"2"}
    assert outputs(batch)[0] == ("dead", b"second: only two")


@pytest.mark.parametrize(("extra", "is_dead"), [(-1, False), (0, False), (1, True)])
def test_output_above_the_limit_makes_its_record_a_dead_letter(extra: int, is_dead: bool) -> None:
    limit = 1000
    value = b"v" * (limit - len(KEYS[1]) + extra)
    batch = new_batch(value, b"one", spec=replace(SPEC, output_bytes=limit))
    walk(batch)
    (first_output, last) = outputs(batch)
    assert (first_output[0] == "dead") is is_dead
    assert last == ("out", b"one")


def test_error_to_retry_on_fails_the_batch_without_a_dead_letter() -> None:
    batch = new_batch(b"later")
    with batch:
        batch.each("first", first)
    with pytest.raises(Exception, match="try again"):
        batch.finished.result(0)
    assert "dead" not in {output.topic for output in batch.outputs}


def test_origin_has_no_prefix() -> None:
    batch = new_batch(b"one")
    assert batch.origin(batch.messages[0]) == "in/1/0"
