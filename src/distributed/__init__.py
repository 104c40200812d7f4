"""More than one process: starting them, which of them this one is, and the vLLM server beside them."""
