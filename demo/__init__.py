"""The demo: a small data set that the package draws for itself, and the whole job on it."""
