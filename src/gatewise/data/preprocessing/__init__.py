"""From columns to float32: fitted on training rows, kept in the run folder, applied to any."""
