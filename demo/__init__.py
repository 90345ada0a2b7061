"""The demo: a small generated data set, and the whole pipeline on it."""
