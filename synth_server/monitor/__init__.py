"""The live monitor: a page that shows a session while it runs, and after. Reads; disturbs nothing."""
