"""What each site wants, on one page: responses, images, what drives it, where it looks, what it is like."""
