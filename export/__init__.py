"""Heads for other tools."""
