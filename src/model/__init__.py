"""Where weights are, their shape, loading them."""
