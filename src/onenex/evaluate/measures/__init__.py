"""Everything that is measured of one image against its reference, in the foreground and over the whole slice: `record.measure`."""
