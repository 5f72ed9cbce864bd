"""A generated hospital: four vendors' DICOM trees of patients whose true pairs, repeats and traps are known."""
