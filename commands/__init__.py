"""The command line, one file a stage; `cli.py` lists the commands and loads them when they are asked for."""
