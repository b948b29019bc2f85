"""The edge: callbacks, registrations of links, and the key sets of providers."""
