"""The protocol's parts, and how an order is drawn."""
