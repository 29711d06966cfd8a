"""Poses, cameras, boxes and grids: pure maths, no input or output."""
