"""The commands of `synth-server`, each with its options; the work is done elsewhere."""
