"""The parts of the edge: callbacks, registrations, key sets, and who may act."""
