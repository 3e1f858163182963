"""One module for each public data set: what its files are called, and what each of them becomes."""
