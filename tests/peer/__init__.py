"""A second, independent implementation of protocol 3, to test the product against."""
