"""Every limit on what comes in, from the socket to the dead letter. Each is smaller than the next
one's, so that what one place takes cannot be too large for a later place.

Where an operator may want another value, the number here is the default of a setting.
"""

KIB = 1 << 10
MIB = 1 << 20

# Connections of one HTTP server. An idle or slow one is closed to make room for a new one.
CONNECTIONS = 1000
# Processes of one edge. Each has all limits of an edge of its own.
EDGE_PROCESSES = 64
# Ends of a process of the edge in a row, each within a minute of its start, after which the whole
# edge ends.
EARLY_ENDS = 5
# Requests that one connection may send before the first is answered. Providers do not pipeline.
PIPELINED_REQUESTS = 16
# Requests to the board in progress at once, in the process that also runs the edge.
BOARD_REQUESTS = 200
# Callbacks that wait at once for a provider's key set.
KEY_SET_WAITERS = 100

# How long a callback waits for a provider's key set. Without an older one, the answer is then 503.
KEY_SET_SECONDS = 3.0
# A request line with its headers, or trailers, must arrive within this time.
HEAD_SECONDS = 10.0
# The body, after the headers.
BODY_SECONDS = 15.0
# A client must read its answer: no part of it may wait longer than this for the client.
WRITE_SECONDS = 30.0
# What a 503 asks a sender to wait.
RETRY_AFTER_SECONDS = 5
# A connection without a request. Load balancers keep theirs for up to 60 s (AWS, nginx): ours must
# be longer, or they send a request on a connection that we are closing.
IDLE_SECONDS = 75.0
# After an early answer the client can read it while we discard the rest of its request.
LINGER_SECONDS = 2.0

# A process that makes no progress for so long while records wait ends, for its supervisor.
STALL_SECONDS = 120.0

# How long the close of an order waits for amounts that its provider was asked for.
DETAILS_SECONDS = 60.0

# An event that an endpoint of `notify` has not accepted for so long becomes a dead letter.
NOTIFY_RETRY_SECONDS = 3 * 86_400
# Events of one endpoint in memory that it has not accepted yet.
NOTIFY_HELD = 5000
# Events of one endpoint in one partition that were read, behind the first that it has not accepted:
# a restart may send them again.
NOTIFY_UNCOMMITTED = 50_000
# Bytes of a secret for signatures, the fewest and the most, as Standard Webhooks has them.
WEBHOOK_SECRET_LEAST_BYTES = 24
WEBHOOK_SECRET_BYTES = 64

# Header lines of a request. Providers send fewer than 20, and proxies add a few.
HEADERS = 100
# Bytes of the path and of all headers, with their names. The record keeps some of them.
HEAD_BYTES = 8 * KIB
# Bytes of a callback or registration as sent. The largest callback of a provider's documents has
# 3 KiB.
BODY_BYTES = 64 * KIB
# Bytes of a callback after its Content-Encoding is decoded.
DECODED_BYTES = BODY_BYTES
# Bytes of a chunked request that are not its body: sizes and extensions of chunks, trailers. Those
# in the request's first packet are not counted.
FRAMING_BYTES = 64 * KIB

# The body of any request, such as the sandbox's upload of a batch.
REQUEST_BYTES = 2 * MIB

# One callback on Kafka: head, body, and the headers that we add.
CALLBACK_RECORD_BYTES = 80 * KIB
# The body of one answer of a provider's API.
ANSWER_BYTES = 512 * KIB
# A lookup stores up to three answers in one record.
LOOKUP_RECORD_BYTES = 3 * ANSWER_BYTES + 64 * KIB
# A dead letter: a record of any topic, cut to this, with its reason and origin. Its headers are cut
# first, so that the value keeps the rest.
DEAD_LETTER_HEADERS = 2 * HEADERS
DEAD_LETTER_NAME_BYTES = 256
DEAD_LETTER_HEADER_BYTES = 2 * HEAD_BYTES
DEAD_LETTER_KEY_BYTES = 2 * KIB
DEAD_LETTER_BYTES = 2 * MIB - 64 * KIB
# Items of one body that cannot be read and have a dead letter each, with the whole body. The other
# ones share one.
ITEM_DEAD_LETTERS = 20
# Key and value of any record that the worker writes, rows of its tables too: a record that would
# lead to a larger one becomes a dead letter.
OUTPUT_BYTES = DEAD_LETTER_BYTES
# Any record: the limit of topics and producers.
RECORD_BYTES = 2 * MIB
# Bytes of records that wait in one process for Kafka to acknowledge them, names and headers too.
WAITING_BYTES = 32 * MIB

# Schema ids that a process remembers as unknown: a topic may hold many junk records.
UNKNOWN_SCHEMA_IDS = 10_000

# Refunds, reversals and disputes of one link: its row must fit into a record.
REFUNDS = 200

# Bytes of an answer that lists payouts or links, and of a file of them.
LIST_ANSWER_BYTES = 16 * MIB
FILE_BYTES = 64 * MIB
# Bytes of one record of `payouts-raw`: a longer answer or file is stored in parts.
PAYOUT_PART_BYTES = MIB
# Links of one file to import.
IMPORT_LINKS = 100_000
# Lines of one record of `payouts`: a payout with more has several records.
PAYOUT_ITEMS = 400
# Differences, and payouts, that the record of a day lists; it counts them all.
RECONCILIATION_ROWS = 200
# Days of one reconciliation, and days that an order may wait for its payout.
RECONCILIATION_DAYS = 92
# Days of one view of the money.
MONEY_DAYS = 366
# Rows of a list that a command prints, and repeats of a callback that `send` posts.
PRINTED_ROWS = 100_000_000
SENT_REPEATS = 100_000
# Exports of lists as CSV that run at once: each holds a connection to the database.
EXPORTS = 4
# Characters of the text about a difference.
DETAIL_CHARACTERS = 500

# Free space of the data folder: Kafka maps 10 MiB for the indexes of each partition that it opens.
FREE_DISK_BYTES = 256 * MIB

# Characters of a connection's name: as a path of a URL and in the names of topics and groups.
CONNECTION_NAME_CHARACTERS = 32

# Characters of a reason, in a header of a dead letter.
REASON_CHARACTERS = 1000
