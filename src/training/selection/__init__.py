"""The `selection` group: which problems a run trains on next, and what becomes of what was sampled for them."""
