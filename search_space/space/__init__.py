"""What may be searched: choices, decisions, constraints."""
