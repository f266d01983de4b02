"""Training of the networks: data, losses, schedules, checkpoints, and heads that are drawn so that nothing else is needed."""
