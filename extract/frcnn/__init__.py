"""The Visual Genome Faster R-CNN (bottom-up attention): arrays in, arrays out."""
