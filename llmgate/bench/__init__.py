"""Benchmarks of prompt formats: which wrapper makes a model call tools right?

One noun a file: `cases` are what is asked, `cells` the matrix, `runner` asks and `journal` keeps
what came; `judge` says what is right; `scores`, `tables`, `report`, `compare` and `apply` read.
"""
