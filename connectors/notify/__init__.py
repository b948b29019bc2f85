"""Sends events to URLs as signed webhooks: in order, with retries, until they are accepted."""
