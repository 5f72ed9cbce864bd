"""A cohort evaluated: images with their references, methods, measures of every image by every method, kept on the disk as they come."""
