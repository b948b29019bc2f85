"""An invented fifth provider: exactly what connectors/providers/README.md requires."""
