"""The members of a consumer group.

They come by aiokafka. librdkafka's own requests of an administrator to a coordinator
(`describe_consumer_groups`, `list_consumer_group_offsets`) end the whole process with an assertion
when the coordinator goes away at that moment (github.com/confluentinc/librdkafka/issues/4605).
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError as AioKafkaError
from aiokafka.errors import for_code
from confluent_kafka import KafkaError, KafkaException

from connectors.reasons import reason_of

# After this time a request ends with an error.
_SECONDS = 10.0
_AGAIN_SECONDS = 0.1


def group_members(options: Mapping[str, Any], group: str) -> dict[str, str]:
    """Return the client id of each member by the member's id. `options` are those of an aiokafka
    client, `group` is with the prefix. Call it where no event loop runs. Raises KafkaException.
    """
    try:
        return asyncio.run(_members(options, group))
    except (AioKafkaError, OSError, TimeoutError) as error:
        text = f"the group's members are unknown: {reason_of(error)}"
        raise KafkaException(KafkaError(KafkaError._TRANSPORT, text, retriable=True)) from error


async def _members(options: Mapping[str, Any], group: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(**options, request_timeout_ms=int(_SECONDS * 1000))
    try:
        async with asyncio.timeout(_SECONDS):
            await admin.start()
            while True:
                try:
                    return await _described(admin, group)
                except AioKafkaError as error:
                    if not error.retriable:
                        raise
                # A new group has no coordinator yet, and another one moves.
                await asyncio.sleep(_AGAIN_SECONDS)
    finally:
        await admin.close()


async def _described(admin: AIOKafkaAdminClient, group: str) -> dict[str, str]:
    (answer,) = await admin.describe_consumer_groups([group])
    code, _, _, _, _, members, *_ = answer.groups[0]
    if code:
        raise for_code(code)
    return {member_id: client_id for member_id, client_id, *_ in members}
