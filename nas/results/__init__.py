"""What a search found: records, trials, the front, picks and exports."""
