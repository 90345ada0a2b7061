"""Run folders: their keys, how they are written, read and listed."""
