"""The folder that `synth-server results` writes: JSON, tables, and pages with figures."""
