"""Trained heads in folders and on the hub: what is saved, fetched and read again."""
