"""ITIN: image-text sentiment analysis at sweep speed."""
