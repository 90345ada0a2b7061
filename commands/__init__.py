"""The command line, one file per command; `cli.py` lists the commands and loads them on demand."""
