"""What the files of a store hold, and how they are named, sealed, written and read."""
