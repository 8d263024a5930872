"""Primitives that keep one failing part from taking the rest along. Import each from its own module."""
