"""Who gets in over protocol 4."""
