"""One run: `run.py` is the list of its steps."""
