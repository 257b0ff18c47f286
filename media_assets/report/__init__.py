"""What was spent, on what, and how well that went: tables from the ledger alone, as CSV and as pictures."""
