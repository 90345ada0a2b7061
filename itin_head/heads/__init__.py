"""Further heads in ITIN's frame, one a file; `registry` names them."""
