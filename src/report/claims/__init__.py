"""The published claims as data: a YAML file for each study, read by `src.report.claims.claims`."""
