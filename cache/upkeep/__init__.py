"""What is done to whole stores: find, describe, verify, repair, merge, compare, export and remove them."""
