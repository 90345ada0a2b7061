"""The forms that features are written in elsewhere: how the samples of one file are listed, a file a form."""
