"""From a model to stored activations."""
