"""Many frames into a memory: geometry stage, memory stage, the pipeline of both, and the encoder's own training."""
