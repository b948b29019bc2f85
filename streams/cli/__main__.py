"""`python -m streams.cli`: how `up` starts its children."""

from streams.cli import main

main()
