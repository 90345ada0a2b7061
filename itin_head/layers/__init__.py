"""Layers that several heads share. Each runs under `torch.func.vmap`, so that heads can be trained side by side."""
