"""Features that others have made."""
