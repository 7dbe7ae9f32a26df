"""Gates and their maps from logits to probabilities."""
