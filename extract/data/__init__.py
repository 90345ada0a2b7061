"""From a data set's files to samples: tables, texts and images, all that is distrusted about them."""
