"""The scaling study of arXiv 2509.25300 on one's own runs: laws, forecasts tested on what they have not seen, budgets."""
