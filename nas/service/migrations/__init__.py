"""Changes of the queue's tables, in order: each is a file in versions/. `nas.service.database.migrate` runs them."""
