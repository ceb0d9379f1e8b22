"""Pages of HTML about runs: one file each, which opens from disk without a network."""
