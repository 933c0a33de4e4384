"""From best partners to feature pairs."""
