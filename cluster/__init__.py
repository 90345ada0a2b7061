"""Work in parts on shared machines, scheduled by Slurm or Dask; parts are deterministic and may be repeated."""
