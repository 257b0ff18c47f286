"""Simulated schedules: the real purchase code on real SQLite, with time, threads and providers in our hand."""
