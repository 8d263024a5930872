"""The sample class: a handful of submissions of exercise 17.2.1, from right to hostile, to try grading with."""
