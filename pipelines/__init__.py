"""The pipelines, and the command line over them."""
