"""By what rule samples become training, validation and test part."""
