"""This machine and its files: errors, files that are whole or not there, provenance, processes."""
