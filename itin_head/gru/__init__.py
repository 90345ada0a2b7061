"""The bidirectional GRU of eqs. 2-4 on texts without padding, in every way that it can be computed."""
