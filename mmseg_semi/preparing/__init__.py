"""Tools that run before training; no training run imports them."""
