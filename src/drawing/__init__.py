"""A figure and a table, and nothing of what they show."""
