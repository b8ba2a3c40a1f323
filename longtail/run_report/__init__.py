"""One page and one description of a whole run, from what its steps left. Nothing here computes anything anew."""
