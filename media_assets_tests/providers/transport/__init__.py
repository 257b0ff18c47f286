"""Tests of the sender: its calls meet raw sockets that misbehave."""
