"""The files of a store: their content, names, checksums, writing and reading."""
