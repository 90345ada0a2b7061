"""Maintenance of whole stores: finding, describing, verifying, repairing, merging, comparing, exporting, removing."""
