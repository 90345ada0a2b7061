"""Sweeps: many configurations, each trained once on the same features, compared on the validation part."""
