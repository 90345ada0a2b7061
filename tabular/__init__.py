"""Third-party tables: their lines, their rows, and the matching of two lists of ids."""
