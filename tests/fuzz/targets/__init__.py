"""One module for each target: what it feeds, and what must hold."""
