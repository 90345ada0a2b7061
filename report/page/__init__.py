"""A page and its parts: sections, figures, tables, colours."""
