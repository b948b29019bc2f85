"""The settings of a process that only reads topics; `streams.settings` has all of them.

A service that uses `consume` has no packages of the providers and the servers, whose settings these
would be.
"""

from difflib import get_close_matches
from functools import partial

from pydantic import Field, ValidationError

from connectors.kafka.cluster import Cluster
from streams import environment
from streams.environment import BadSettings
from streams.sections import Section, Security

# Less alike are the names of other settings, and more alike are misspelled ones.
_ALIKE = 0.8


class KafkaSettings(Section):
    """How to reach the cluster and the schemas of its records."""

    brokers: str | None = None
    security: Security = Security()
    topic_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,100}$")
    schema_registry_url: str | None = None

    def cluster(self) -> Cluster:
        """Return the Kafka cluster. Raises BadSettings if no brokers are set."""
        if not self.brokers:
            raise BadSettings(
                "LINKSTATUS_BROKERS is not set; `linkstatus up` runs an embedded broker"
            )
        return Cluster(self.brokers, self.topic_prefix, **self.security.texts())


def load() -> KafkaSettings:
    """Return these settings, from the same variables and file. Settings of other processes are
    ignored. Raises BadSettings.
    """
    try:
        values = environment.Source(KafkaSettings, {})()
        known = set(KafkaSettings.model_fields)
        mine = {name: value for name, value in values.items() if name in known or _near(name)}
        return KafkaSettings(**mine)
    except ValidationError as error:
        raise environment.refusal(error, partial(environment.nearest, KafkaSettings)) from None
    except ValueError as error:
        raise BadSettings(str(error)) from None


def _near(name: str) -> list[str]:
    """Return the setting that an unknown name misspells, if any."""
    return get_close_matches(name, environment.names(KafkaSettings), n=1, cutoff=_ALIKE)
