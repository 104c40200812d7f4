"""What a run leaves, written and read: record, checkpoints, ledger, metrics, tracking, publishing."""
