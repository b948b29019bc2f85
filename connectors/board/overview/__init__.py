"""The state of the installation: what flows, what is wrong and what to do about it."""
