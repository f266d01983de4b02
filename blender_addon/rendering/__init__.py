"""Final frames: splats as geometry that EEVEE and Cycles render, their look, their light, and shots that a farm can draw."""
