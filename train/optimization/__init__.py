"""What is minimised, and the optimisers that do it."""
