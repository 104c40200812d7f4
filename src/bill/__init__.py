"""The bill: what a run will take (plan.py), what it may take (budget.py) and what it took (accounting.py)."""
