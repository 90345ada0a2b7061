"""Protocols: the rules by which samples become training, validation and test part."""
