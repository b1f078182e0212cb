"""An independent client of protocol 4 for tests, and what they run it against."""
