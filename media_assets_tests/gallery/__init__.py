"""The gallery: what it shows, its page, its files, and the page in a real browser."""
