"""`/registry`: read-only lookups in the API of Confluent's Schema Registry.

`GET /registry/schemas/ids/{id}` resolves all ids, also those of an external registry: that registry
may be away, and does not know the ids of records from before it. The paths of subjects exist only
without an external registry, because they return derived ids. The versions of a subject are the
released ones, and last the one that this release writes.
"""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from connectors.schema_registry import client
from schemas import versions
from schemas.codec import Codecs, SchemaAway
from schemas.topics import all_topics

_VERSIONS = "/registry/subjects/{subject}/versions"


class RegistryResponse(JSONResponse):
    media_type = "application/vnd.schemaregistry.v1+json"


def _router() -> APIRouter:
    missing: dict[int | str, dict[str, Any]] = {404: {"description": "There is none."}}
    return APIRouter(tags=["board"], default_response_class=RegistryResponse, responses=missing)


def ids(codecs: Codecs) -> APIRouter:
    """Return the endpoint of schema ids."""
    router = _router()
    unavailable: dict[int | str, dict[str, Any]] = {503: {"description": "The lookup failed."}}

    @router.get("/registry/schemas/ids/{id}", responses=unavailable)
    def schema_of_id(id: str) -> Response:
        """The schema of an id."""
        try:
            schema = codecs.schema_of(int(id)) if id.isdecimal() and len(id) <= 10 else None
        except SchemaAway as error:
            return _error(50301, f"Schema {id}: {error}")
        if schema is None:
            return _error(40403, f"Schema {id} not found")
        return RegistryResponse({"schema": schema.text})

    return router


def subjects(providers: Iterable[str], prefix: str) -> APIRouter:
    """Return the endpoints of subjects."""
    router = _router()
    by_subject = {
        subject: versions.distinct(schema.name)
        for subject, schema in client.subjects(all_topics(providers), prefix).items()
    }

    @router.get("/registry/subjects")
    def list_subjects() -> Response:
        """The subjects."""
        return RegistryResponse(sorted(by_subject))

    @router.get(_VERSIONS)
    def list_versions(subject: str) -> Response:
        """The versions of a subject."""
        if subject not in by_subject:
            return _error(40401, f"Subject '{subject}' not found.")
        return RegistryResponse(list(range(1, len(by_subject[subject]) + 1)))

    @router.get(f"{_VERSIONS}/{{version}}")
    def schema_of_version(subject: str, version: str) -> Response:
        """A version of a subject; `latest` is the last one."""
        if subject not in by_subject:
            return _error(40401, f"Subject '{subject}' not found.")
        schemas = by_subject[subject]
        numbers = {str(number): number for number in range(1, len(schemas) + 1)}
        number = (numbers | {"latest": len(schemas), "-1": len(schemas)}).get(version)
        if number is None:
            return _error(40402, f"Version {version} not found.")
        schema = schemas[number - 1]
        content = {"subject": subject, "version": number, "id": schema.fingerprint}
        return RegistryResponse({**content, "schema": schema.text})

    return router


def _error(code: int, message: str) -> Response:
    return RegistryResponse({"error_code": code, "message": message}, code // 100)
