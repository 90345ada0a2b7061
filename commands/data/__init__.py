"""`itin data`: the group, and one file a subcommand."""
