"""Links that exist at a provider: listed or read from a file, asked about, and published."""
