"""Tables that other people wrote: lines, rows, and two lists of ids that should meet."""
