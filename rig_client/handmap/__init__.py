"""The hand map: a stimulus that follows the mouse, and what all sites answer to it."""
