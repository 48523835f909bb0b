"""The report: one page of a whole session, for people, from its log alone."""
