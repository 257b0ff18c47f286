"""What was left behind: open purchases, lost predictions, and whether the bill agrees."""
