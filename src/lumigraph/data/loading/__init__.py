"""Events in memory and from files, served as Batches."""
