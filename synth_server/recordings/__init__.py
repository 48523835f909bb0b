"""Recordings as laboratories have them: response files of many formats, brought to one shape."""
