"""The method: restoration, weights, the public Model."""
