"""What circuits, converters, writes and digital arithmetic cost: energy, time, area.

`assumptions` reads the numbers and their sources, `counts` says how many of each a solve takes, `units` what one of
each costs, `training` what a K-FAC step on a network costs (Table I), `stamp` what STAMP's machine would gain,
`sensitivity` which assumption decides.
"""
