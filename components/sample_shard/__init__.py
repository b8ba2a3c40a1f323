"""Generated features of one group of classes."""
