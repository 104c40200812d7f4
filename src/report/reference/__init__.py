"""Published figures as CSV, each with its source and protocol."""
