"""The parts of an operation that are the same everywhere."""

from typing import Any

from connectors.documents.rows import Schema


def query(name: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}


def board(summary: str, answer: Schema, *statuses: int) -> dict[str, Any]:
    found = {"200": {"description": summary, "content": json_of(answer)}}
    return {
        "tags": ["board"],
        "summary": summary,
        "responses": {**found, **answers(401, 421, *statuses)},
    }


def answers(*statuses: int) -> dict[str, Any]:
    """The answers that are the same everywhere, by status."""
    kinds = {401: "refused", 404: "missing"}
    return {str(status): response(kinds.get(status, "error")) for status in statuses}


def response(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{name}"}


def json_of(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
