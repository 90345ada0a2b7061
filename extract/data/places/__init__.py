"""Where a data set's bytes are: files, archives and tables, and the locators that name an image in them."""
