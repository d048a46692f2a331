"""Sums over pairs of particles, without a list of them."""
