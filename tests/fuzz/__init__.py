"""A running system under generated requests and records, and what is asked of it afterwards."""
