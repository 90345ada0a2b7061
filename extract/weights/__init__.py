"""Where weights come from: the user's files, a packed folder, the hub and its cache; checked by their digests."""
