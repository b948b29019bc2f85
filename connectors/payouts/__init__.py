"""What providers paid out: fetched or read from a file, kept as received, and published."""
