"""The providers' HTTP APIs on this machine: every state, error and fault of theirs, and never a cent.

``server.py`` starts it. Nothing here knows the rest of the package except its errors: prices, models and media are the
simulator's own, so that its bill can disagree with ours.
"""
