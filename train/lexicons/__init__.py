"""What word lists and the form of a text say about its polarity, one lexicon a file; `registry` names them."""
