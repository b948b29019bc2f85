-- What the board's first version made at its start, before there were revisions.
CREATE TABLE anomalies (
    event_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    link_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (event_id)
);
CREATE INDEX anomalies_link ON anomalies (provider, link_id);
CREATE INDEX anomalies_newest ON anomalies (at, event_id);
CREATE TABLE dead_letters (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    "offset" BIGINT NOT NULL,
    at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    stage TEXT NOT NULL,
    origin TEXT NOT NULL,
    key BYTEA,
    headers TEXT NOT NULL,
    body BYTEA,
    PRIMARY KEY (topic, partition, "offset")
);
CREATE INDEX dead_letters_newest ON dead_letters (at, partition, "offset");
CREATE TABLE link_events (
    provider TEXT NOT NULL,
    link_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    partition INTEGER NOT NULL,
    "offset" BIGINT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (provider, link_id, event_id)
);
CREATE TABLE link_status (
    provider TEXT NOT NULL,
    link_id TEXT NOT NULL,
    status TEXT NOT NULL,
    order_id TEXT NOT NULL,
    in_order BOOLEAN NOT NULL,
    changed_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (provider, link_id)
);
CREATE INDEX link_status_newest ON link_status (changed_at, provider, link_id);
CREATE INDEX link_status_order ON link_status (order_id, provider, changed_at, link_id);
CREATE INDEX link_status_provider ON link_status (provider, changed_at, link_id);
CREATE INDEX link_status_provider_status ON link_status (provider, status, changed_at, link_id);
CREATE INDEX link_status_status ON link_status (status, changed_at, provider, link_id);
CREATE TABLE notices (
    event_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    kind TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (event_id)
);
CREATE INDEX notices_newest ON notices (received_at, event_id);
CREATE TABLE order_close (
    event_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    order_id TEXT NOT NULL,
    decided_at BIGINT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (event_id)
);
CREATE INDEX order_close_order ON order_close (provider, order_id);
CREATE TABLE orders (
    provider TEXT NOT NULL,
    order_id TEXT NOT NULL,
    state TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (provider, order_id)
);
CREATE INDEX orders_newest ON orders (changed_at, provider, order_id);
CREATE INDEX orders_state ON orders (state);
CREATE TABLE positions (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset BIGINT NOT NULL,
    PRIMARY KEY (topic, partition)
);
CREATE TABLE settlements (
    event_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    order_id TEXT NOT NULL,
    decided_at BIGINT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (event_id)
);
CREATE INDEX settlements_order ON settlements (provider, order_id);
CREATE TABLE unreadable (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    "offset" BIGINT NOT NULL,
    at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    key BYTEA,
    size INTEGER NOT NULL,
    PRIMARY KEY (topic, partition, "offset")
);
