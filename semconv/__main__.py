"""`python -m semconv` is the command line."""

from semconv.cli import main

main()
