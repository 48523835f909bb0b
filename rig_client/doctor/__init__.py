"""`rig-client doctor`: is this rig ready for a session? One small check after the other."""
