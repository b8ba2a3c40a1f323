"""The features put together."""
