"""AsyncAPI of the topics, generated from their definitions.

`make documents` writes `asyncapi.json`; a test compares it with the code. The processes themselves
serve the OpenAPI document of their HTTP API at `/openapi.json`.
"""
