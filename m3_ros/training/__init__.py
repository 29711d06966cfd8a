"""Many frames into a memory: the geometry stage, the memory stage, the pipeline of both, and the encoder's own training."""
