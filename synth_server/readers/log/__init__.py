"""What a session's log says: presentations, stimuli, threads, and the rig."""
