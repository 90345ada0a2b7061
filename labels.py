"""The classes of every data set and head."""

LABELS = ("positive", "neutral", "negative")
"""A class's number is its position here."""
