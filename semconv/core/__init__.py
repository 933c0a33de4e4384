"""Sparse activations and their exact correlation; it knows no model, text or suite."""
