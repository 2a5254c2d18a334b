"""A run of ours as a configuration of another program: one module a program, its fields in a table."""
