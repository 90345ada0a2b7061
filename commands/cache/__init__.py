"""`itin cache`: the group, and one file a subcommand."""
