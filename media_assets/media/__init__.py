"""Work on files: read their facts, draw, animate, speak, conform, judge and merge. Nothing here knows a provider."""
