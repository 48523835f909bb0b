"""What images that an encoder made did, and what the encoder learned."""
