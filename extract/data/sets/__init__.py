"""The readers of data sets: one file a data set or form, one line each in `datasets.DATASETS`."""
