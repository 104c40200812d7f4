"""A model measured on problems."""
