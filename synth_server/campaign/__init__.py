"""Campaigns: many simulated sessions, one table. Above dry runs, whose settings its cells have."""
