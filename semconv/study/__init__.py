"""One comparison: sides, their pairs, every measure beside its nulls."""
