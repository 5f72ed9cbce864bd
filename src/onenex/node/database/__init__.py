"""The queue's parts: its tables, what happens to series and deliveries in them, and the files beside them."""
