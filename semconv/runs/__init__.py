"""The formats of a run folder."""
