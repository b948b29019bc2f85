"""The agents of `work`: thin adapters between batches and the pure rules.

normalize reads what came in; join, track and orders each keep one table. An agent decodes, calls
its rule, and sends what the rule says; it decides nothing."""
