"""The board's HTTP: access, parameters, forms, JSON."""
