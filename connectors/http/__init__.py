"""The HTTP server with its probes, the client for provider APIs, retries and access."""
