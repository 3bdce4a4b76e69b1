"""Second-order training: data, the paper's network, K-FAC through any solver, and the loop that ties them.

This room needs PyTorch (extra `training`), which is imported by its modules and not here. Public are the names in
`__all__` of: kfac (KFAC), loop (TrainConfig, train), networks, data.
"""
