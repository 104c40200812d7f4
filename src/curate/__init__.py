"""From raw problems to the pools of a run."""
