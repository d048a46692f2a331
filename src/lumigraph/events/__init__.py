"""What an event is: its schema, its particles and their graph, and the Batches that hold them."""
