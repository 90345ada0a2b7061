"""Stage one: data sets -> samples -> encoders -> shards of a feature store."""
