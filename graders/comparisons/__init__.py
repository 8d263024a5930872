"""Published libraries judged by the checks of the course: what "In production" tables are made of."""
