"""The import of features made elsewhere."""
