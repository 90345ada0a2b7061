"""What turns images and texts into features: one file a family of encoders, one line each in `build.ENCODERS`."""
