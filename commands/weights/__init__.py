"""`itin weights`: the group, and one file per subcommand."""
