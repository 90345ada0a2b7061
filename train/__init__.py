"""Stage two: cached features -> batches -> head -> metrics -> run folders."""
