"""The page of all films: what it shows is ``shown``, its HTML is ``page``, and what lies on disk is ``folder``."""
