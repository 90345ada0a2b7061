"""Data sets that are read as a stream, front to back: archives and tables that hold their images."""
