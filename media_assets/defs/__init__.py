"""Everything that imports dagster, besides ``definitions.py``. It never speaks HTTP, SQL or ffmpeg."""
