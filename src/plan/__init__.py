"""What a run will take and cost, said before it starts."""
