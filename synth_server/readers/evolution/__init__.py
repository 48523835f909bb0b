"""What evolved images did, against natural images."""
