"""`itin data`: the group, and one file per subcommand."""
