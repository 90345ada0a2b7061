"""From stores to batches."""
