"""Work in parts on shared machines: Slurm and Dask schedule, our parts are deterministic and may be repeated."""
