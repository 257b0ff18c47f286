"""The page of films: what it shows (``shown``), its bars (``timeline``), the page and its files (``page``, ``folder``)."""
