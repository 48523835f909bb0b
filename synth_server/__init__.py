"""The server: invents images, hosts sessions, keeps their logs."""
