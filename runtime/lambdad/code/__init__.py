"""Code at rest: archives, content-addressed trees, and what each runtime starts with."""
