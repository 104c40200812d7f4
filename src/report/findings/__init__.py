"""What records say, worked out: configurations, comparisons, effects, efficiency."""
