"""The spend report: its tables, its pictures."""
