"""`itin cache`: the group, and one file per subcommand."""
