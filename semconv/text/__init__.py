"""Text, tokens, and what features fire on."""
