"""Long-tailed image data sets: where images come from, which are chosen, and the artifact that holds them."""
