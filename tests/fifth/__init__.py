"""A fifth provider, invented: what connectors/README.md asks for and nothing more."""
