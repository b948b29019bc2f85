"""The stage of `linkstatus work`: its steps, what each consumes, its table and its agent.

One stage owns partition number p of all its inputs and tables. A callback, its link and an order
that is the link itself have keys of the same partition, so most of what follows from a callback
happens in one batch and one transaction.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from connectors.providers.base import Provider
from schemas import topics
from schemas.codec import Codecs, SchemaAway
from schemas.topics import Topic
from streams.agents.agent import Agent, dead_letter
from streams.agents.join import Join
from streams.agents.normalize import Normalize
from streams.agents.orders import Orders
from streams.agents.track import Track
from streams.domain.polling import Intervals
from streams.domain.rules import ProviderRules
from streams.engine.batch import Batch
from streams.engine.spec import StageSpec, Step, TableSpec

STAGE = "work"
TABLES: Mapping[str, Topic[Any]] = {
    "join": topics.PAYMENTS,
    "track": topics.LINK_STATUS,
    "orders": topics.ORDERS,
}


def external_inputs(providers: Iterable[str]) -> tuple[Topic[Any], ...]:
    """Return the topics that everything else follows from."""
    return (topics.LINKS, *map(topics.callbacks, providers), topics.ORDER_UPDATES)


def inputs(providers: Iterable[str]) -> dict[str, tuple[Topic[Any], ...]]:
    """Return the input topics of each step, by the step's name."""
    return {
        "normalize": external_inputs(providers),
        "join": (topics.PAYMENT_EVENTS,),
        "track": (topics.LINK_FACTS,),
        "orders": (topics.ORDER_EVENTS,),
    }


def stage_spec(codecs: Codecs, providers: Iterable[str]) -> StageSpec:
    """Return the description of the stage."""
    steps = inputs(providers)
    schemas = {topic.name: topic.schema for topics_ in steps.values() for topic in topics_}
    return StageSpec(
        STAGE,
        tuple(
            Step(
                name,
                tuple(topic.name for topic in topics_),
                _table(codecs, TABLES[name]) if name in TABLES else None,
            )
            for name, topics_ in steps.items()
        ),
        dead_letter,
        prepare=partial(_learn_schemas, codecs, schemas),
        retry_on=(SchemaAway,),
        # A registration before a payment counts, however long the worker was away.
        priority=(topics.LINKS.name,),
    )


def _table(codecs: Codecs, topic: Topic[Any]) -> TableSpec:
    schema: Any = topic.schema
    return TableSpec(topic.name, partial(codecs.encode, schema), partial(codecs.decode, schema))


def _learn_schemas(codecs: Codecs, schemas: Mapping[str, Any], batch: Batch) -> None:
    """Look up unknown schema ids here, in the stage's thread. A registry may answer slowly, and the
    agents share their loop with the probes. Raises SchemaAway.
    """
    for message in batch.messages:
        schema = schemas[batch.topic(message)]
        if schema is not None:
            codecs.learn(schema, message.value())


def agents(
    codecs: Codecs,
    providers: Mapping[str, Provider],
    rules: Mapping[str, ProviderRules],
    intervals: Intervals,
) -> dict[str, Agent]:
    """Return new agents of a stage, by the names of their steps."""
    agents_: tuple[Agent, ...] = (
        Normalize(codecs, providers),
        Join(codecs),
        Track(codecs, rules, intervals),
        Orders(codecs, rules, intervals),
    )
    return {agent.name: agent for agent in agents_}
