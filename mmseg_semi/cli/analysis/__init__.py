"""Commands that examine trained models, runs and the input pipeline."""
