"""What people run before training; no training run reaches it."""
