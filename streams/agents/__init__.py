"""The agents of `linkstatus work`: thin adapters between batches and the pure rules.

`normalize` reads what came in. `join`, `track` and `orders` each keep one table. An agent decodes a
record, calls its rule, and sends what the rule returns. It decides nothing."""
