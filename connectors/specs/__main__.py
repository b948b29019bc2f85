"""`python -m connectors.specs` writes asyncapi.json."""

from connectors.providers.registry import PROVIDERS
from connectors.specs import asyncapi

if __name__ == "__main__":
    asyncapi.FILE.write_text(asyncapi.text(PROVIDERS))
