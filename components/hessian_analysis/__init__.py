"""Hessian analysis."""
