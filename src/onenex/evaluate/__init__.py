"""How good it is: metrics, peers, benchmark."""
